/** What a mote says of itself: a plain snapshot that survives JSON and holds no secret. */
import { formatEndpoint, formatPrefix } from '../base/address.ts';
import { toBase64 } from '../base/bytes.ts';
import type { DropName } from '../base/drop.ts';
import type { Device } from '../device/device.ts';
import type { ControlState, RelayStatus } from '../device/tailnet.ts';

/** One peer as {@link Mote.status} shows it. */
export interface PeerStatus {
  readonly publicKey: string;
  readonly endpoint: string | undefined;
  readonly allowedIPs: readonly string[];
  /** Milliseconds since 1970 of the last completed handshake. */
  readonly lastHandshakeUnixMs: number | undefined;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly persistentKeepaliveMs: number;
}

/** A device of the tailnet as {@link Mote.status} shows it. */
export interface TailnetPeerStatus {
  readonly id: number;
  /** Full name, without a dot at the end. */
  readonly name: string;
  readonly publicKey: string;
  readonly addresses: readonly string[];
  /** Undefined: the coordinator does not say. */
  readonly isOnline: boolean | undefined;
  readonly isExpired: boolean;
  readonly user: string | undefined;
  readonly tags: readonly string[];
  /** Its home relay, by the region's code. */
  readonly relay: string | undefined;
  /** How packets reach it; `idle`: none were sent lately. */
  readonly path: 'idle' | 'relay' | 'direct';
  /** Where it is reached directly. */
  readonly endpoint?: string;
  /** Round trip of the direct path. */
  readonly latencyMs?: number;
  /** Why it is relayed. */
  readonly why?: string;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly lastHandshakeUnixMs: number | undefined;
}

/** An answer beneath the tunnel. */
export interface PathPing {
  readonly path: 'relay' | 'direct';
  readonly endpoint?: string;
  /** Code of the relay's region. */
  readonly relay?: string | undefined;
  readonly latencyMs: number;
}

/** A link to a relay as {@link Mote.status} shows it. */
export interface TailnetRelayStatus extends RelayStatus {
  /** Why it is not connected, as far as is known. */
  readonly error?: string;
}

/** Membership in a tailnet as {@link Mote.status} shows it. */
export interface TailnetStatus {
  /** URL of the coordinator. */
  readonly control: string;
  readonly state: ControlState;
  /** This device's full name, without a dot at the end. */
  readonly name: string;
  readonly domain: string;
  readonly user: string | undefined;
  readonly tags: readonly string[];
  /** Milliseconds since 1970; 0: never. */
  readonly keyExpiryUnixMs: number;
  /** Problems that the coordinator sees. */
  readonly health: readonly string[];
  /** Rules of the policy by which others may reach this device; 0: nobody may. */
  readonly inboundRules: number;
  /** Why the coordinator cannot be reached; undefined: it can. */
  readonly controlError: string | undefined;
  /** This machine's clock less the coordinator's, as that was when the map stream began; undefined: it has not said. */
  readonly clockAheadMs: number | undefined;
  readonly relays: readonly TailnetRelayStatus[];
  readonly peers: readonly TailnetPeerStatus[];
}

/** A plain snapshot for programs and people. */
export interface MoteStatus {
  readonly publicKey: string;
  readonly addresses: readonly string[];
  readonly listenPort: number;
  /** Bound UDP addresses. */
  readonly local: readonly string[];
  readonly mtu: number;
  readonly suite: string;
  /** Open TCP connections of the application. */
  readonly connections: number;
  readonly listeners: number;
  readonly udpSockets: number;
  /** Dropped packets by reason. */
  readonly drops: { readonly [name in DropName]?: number };
  readonly peers: readonly PeerStatus[];
  /** Undefined without a tailnet. */
  readonly tailnet?: TailnetStatus;
}

/** The peers of a device in the order of their ids. */
export function peerStatuses({ tunnel }: Device): readonly PeerStatus[] {
  return Array.from(tunnel.peerIds(), id => {
    const peer = tunnel.peerStatus(id);
    return {
      publicKey: toBase64(peer.publicKey),
      endpoint: peer.endpoint === undefined ? undefined : formatEndpoint(peer.endpoint),
      allowedIPs: peer.allowedIPs.map(formatPrefix),
      lastHandshakeUnixMs: peer.lastHandshakeUnixMs,
      rxBytes: peer.rxBytes,
      txBytes: peer.txBytes,
      persistentKeepaliveMs: peer.persistentKeepaliveMs,
    };
  });
}
