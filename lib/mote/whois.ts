/** Who is at the other end: what the network, not the application, knows of a peer. */
import { formatPrefix } from '../base/address.ts';
import { toBase64 } from '../base/bytes.ts';
import type { PeerStatus } from '../wireguard/types.ts';

/** A peer by one of its addresses. The key is proven by the tunnel, the rest is what the coordinator says of that key. */
export interface Whois {
  /** Base64 of the peer's public key. */
  readonly publicKey: string;
  /** Id of the device in its tailnet; undefined for a peer of the configuration, as are the names below. */
  readonly id?: number;
  /** Full name, without a dot at the end. */
  readonly name?: string;
  /** Its addresses inside. */
  readonly addresses: readonly string[];
  /** Its owner; undefined for a tagged device that has none. */
  readonly user?: { readonly id: number; readonly loginName: string; readonly displayName: string } | undefined;
  /** `tag:name`. */
  readonly tags: readonly string[];
  /** Application capabilities that the policy gives it on this device, by name. */
  readonly capabilities: readonly string[];
}

/** What is known of a peer of the configuration. */
export function configuredWhois(peer: PeerStatus): Whois {
  return Object.freeze({
    publicKey: toBase64(peer.publicKey),
    addresses: Object.freeze(peer.allowedIPs.map(formatPrefix)),
    tags: Object.freeze([]),
    capabilities: Object.freeze([]),
  });
}
