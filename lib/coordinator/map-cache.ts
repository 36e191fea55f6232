/**
 * Peers as bytes, each encoded once per change and shared by all viewers. What that may cost is bounded, the oldest
 * goes: whole peers by their bytes, patches by their number, since they are of use only until all viewers have them.
 */
import { encodeItem, type MapEntry } from './map-directory.ts';
import { peerNode, peerPatch, smallPeerNode } from './node-view.ts';

/** Peers whose last patch is kept for further viewers. */
const PATCHED_PEERS = 64;

/** See the top of the file. */
export class PeerCache {
  /** Bytes of whole peers that are kept. */
  bytes = 0;
  readonly #limit: number;
  /** Peers that are kept as bytes, oldest first. */
  readonly #cached = new Set<MapEntry>();
  /** Peers that may have a patch kept, in a ring. */
  readonly #patched: MapEntry[] = [];
  #patchedAt = 0;

  /** `limit`: of {@link bytes}. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Forgets the bytes of a device that has changed or gone. */
  forget(entry: MapEntry): void {
    this.#evict(entry);
    entry.wholeBytes = 0;
    entry.smallBytes = 0;
    forgetPatch(entry);
  }

  /** Length of {@link whole}, which need not be kept for it. */
  measure(entry: MapEntry, isSmall: boolean): number {
    const known = isSmall ? entry.smallBytes : entry.wholeBytes;
    return known > 0 ? known : this.whole(entry, isSmall).length;
  }

  /** A peer as `,{…}`. */
  whole(entry: MapEntry, isSmall: boolean): Uint8Array {
    const known = isSmall ? entry.small : entry.whole;
    if (known !== undefined) return known;
    const { record, served, tailnet } = entry;
    const { suffix } = tailnet;
    const bytes = encodeItem(isSmall ? smallPeerNode(record, suffix, served) : peerNode(record, suffix, entry, served));
    if (isSmall) [entry.small, entry.smallBytes] = [bytes, bytes.length];
    else [entry.whole, entry.wholeBytes] = [bytes, bytes.length];
    this.#cached.add(entry);
    this.bytes += bytes.length;
    for (const oldest of this.#cached) {
      if (this.bytes <= this.#limit) break;
      this.#evict(oldest);
    }
    return bytes;
  }

  /** What these bits of `DIFFERS_…` say of a peer, as `,{…}`. */
  item(peer: MapEntry, bits: number): Uint8Array {
    if (peer.item === undefined || peer.itemBits !== bits) {
      this.#remember(peer);
      peer.item = encodeItem(peerPatch(peer.record, bits, peer));
      peer.itemBits = bits;
    }
    return peer.item;
  }

  /** The whole message that these bits of a peer are; undefined while it is not kept. */
  patch(peer: MapEntry, bits: number): Uint8Array | undefined {
    return peer.patchBits === bits ? peer.patch : undefined;
  }

  /** Keeps such a message; returns it. */
  keepPatch(peer: MapEntry, bits: number, message: Uint8Array): Uint8Array {
    this.#remember(peer);
    peer.patch = message;
    peer.patchBits = bits;
    return message;
  }

  #remember(peer: MapEntry): void {
    if (peer.item !== undefined || peer.patch !== undefined) return;
    const oldest = this.#patched[this.#patchedAt];
    if (oldest !== undefined) forgetPatch(oldest);
    this.#patched[this.#patchedAt] = peer;
    this.#patchedAt = (this.#patchedAt + 1) % PATCHED_PEERS;
  }

  #evict(entry: MapEntry): void {
    if (!this.#cached.delete(entry)) return;
    this.bytes -= (entry.whole?.length ?? 0) + (entry.small?.length ?? 0);
    entry.whole = undefined;
    entry.small = undefined;
  }
}

function forgetPatch(entry: MapEntry): void {
  entry.item = undefined;
  entry.patch = undefined;
}
