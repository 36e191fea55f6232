/** What a mote says of itself: a plain snapshot that survives JSON and holds no secret. */
import { formatEndpoint, formatPrefix } from '../base/address.ts';
import { toBase64 } from '../base/bytes.ts';
import type { DropName } from '../base/drop.ts';
import type { Device } from '../device/device.ts';

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
