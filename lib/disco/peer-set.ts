/**
 * The peers in use, by id and by disco key, the way to those that are not in use yet, and the box keys that follow from
 * disco keys: an X25519 each, so it is done once, and only when a message comes or goes. Box keys of peers in use stay;
 * of other senders the last few are kept.
 */
import { equalRange } from '../base/bytes.ts';
import type { SecretKey } from '../crypto/keys.ts';
import type { CryptoSuite } from '../crypto/suite.ts';
import type { DiscoLimits } from './limits.ts';
import { DISCO_KEY_BYTES } from './message.ts';
import { BOX_KNOWN, BOX_NONE, BOX_UNKNOWN, DiscoPeer, NO_KEY } from './peer.ts';
import type { DiscoOptions, DiscoOwner, DiscoPeerConfig } from './types.ts';

/** What a peer has in {@link PeerSet}'s keys, 32 bytes each: public node key, public disco key, box key. */
const DISCO_AT = DISCO_KEY_BYTES;
const BOX_AT = 2 * DISCO_KEY_BYTES;
const ROW_BYTES = 3 * DISCO_KEY_BYTES;

/** All peers of a device. */
export class PeerSet {
  readonly #suite: CryptoSuite;
  readonly #privateKey: SecretKey;
  readonly #limits: DiscoLimits;
  readonly #owner: DiscoOwner;
  readonly #ownKeys: Uint8Array;
  /** By id. */
  readonly #peers: (DiscoPeer | undefined)[] = [];
  /** {@link ROW_BYTES} of each, by id. Views of it are lent until the next peer is added. */
  #keys: Uint8Array | undefined = undefined;
  /** Those with a disco key, in the order of the keys. */
  readonly #byKey: DiscoPeer[] = [];
  /** Disco key and box key of senders that are not in use, 64 bytes each; the oldest first. */
  readonly #strangers: Uint8Array[] = [];

  /** None yet. `ownKeys` begins with our public disco key. */
  constructor(options: DiscoOptions, ownKeys: Uint8Array) {
    this.#suite = options.suite;
    this.#privateKey = options.privateKey;
    this.#limits = options.limits;
    this.#owner = options.owner;
    this.#ownKeys = ownKeys;
  }

  /** The peer with this id. */
  get(id: number): DiscoPeer | undefined {
    return this.#peers[id];
  }

  /** The same; RangeError when there is none. */
  expect(id: number): DiscoPeer {
    const peer = this.#peers[id];
    if (peer === undefined) throw new RangeError(`"id" expected a peer, got ${id}`);
    return peer;
  }

  /** All of them. */
  values(): readonly DiscoPeer[] {
    return this.#peers.filter(peer => peer !== undefined);
  }

  /** Adds one. RangeError for an id that is taken or no natural number, or keys that have not 32 bytes. */
  add(nowMs: number, id: number, { nodeKey, discoKey, region, endpoints }: DiscoPeerConfig): void {
    expectKey('nodeKey', nodeKey);
    if (discoKey !== undefined) expectKey('discoKey', discoKey);
    if (!(Number.isInteger(id) && id >= 0) || this.#peers[id] !== undefined)
      throw new RangeError(`"id" expected a new one, got ${id}`);
    const peer = new DiscoPeer(id);
    peer.region = region;
    this.#peers[id] = peer;
    this.#makeRoom(id);
    this.setNodeKey(peer, nodeKey);
    this.setDiscoKey(peer, discoKey);
    peer.list(nowMs, endpoints, this.#limits);
  }

  /** Forgets one. */
  remove(peer: DiscoPeer): void {
    this.#peers[peer.id] = undefined;
    this.setDiscoKey(peer, undefined);
  }

  /** Another disco key, 32 bytes, or none. Nobody has ours: with it, we would talk to ourselves. */
  setDiscoKey(peer: DiscoPeer, discoKey: Uint8Array | undefined): void {
    if (peer.keyState !== NO_KEY) this.#byKey.splice(this.#byKey.indexOf(peer), 1);
    peer.keyState = NO_KEY;
    const keys = this.#keysOf(peer).subarray(DISCO_AT);
    keys.fill(0);
    if (discoKey === undefined) return;
    if (equalRange(discoKey, 0, this.#ownKeys, 0, DISCO_KEY_BYTES)) return; // CHECK: disco-own-key
    keys.set(discoKey);
    const at = this.#firstAt(discoKey);
    const twin = this.#byKey[at];
    const hasTwin = twin !== undefined && this.isKeyOf(twin, discoKey);
    if (hasTwin) keys.set(this.#keysOf(twin).subarray(DISCO_AT));
    peer.keyState = hasTwin ? twin.keyState : BOX_UNKNOWN;
    this.#byKey.splice(at, 0, peer);
    const stranger = this.#strangerAt(discoKey);
    if (stranger < 0) return;
    keys.set(this.#strangers[stranger]!);
    peer.keyState = BOX_KNOWN;
    this.#dropStranger(stranger);
  }

  /** The peer that has this disco key and this node key; it may be added for it. */
  withKeys(nowMs: number, discoKey: Uint8Array, nodeKey: Uint8Array): DiscoPeer | undefined {
    for (let at = this.#firstAt(discoKey); at < this.#byKey.length; at++) {
      const peer = this.#byKey[at]!;
      if (!this.isKeyOf(peer, discoKey)) break;
      if (this.#isNodeKeyOf(peer, nodeKey)) return peer;
    }
    const peer = this.#resolve(nowMs, discoKey, nodeKey);
    return peer !== undefined && this.#isNodeKeyOf(peer, nodeKey) ? peer : undefined;
  }

  /** The peer that a ping is from: the one whose node key it names, or else the only one that has the disco key. */
  ofPing(nowMs: number, discoKey: Uint8Array, nodeKey: Uint8Array | undefined): DiscoPeer | undefined {
    const named = nodeKey === undefined ? undefined : this.withKeys(nowMs, discoKey, nodeKey);
    return named ?? this.#resolve(nowMs, discoKey, undefined);
  }

  #resolve(nowMs: number, discoKey: Uint8Array, nodeKey: Uint8Array | undefined): DiscoPeer | undefined {
    const id = this.#owner.resolvePeer(nowMs, discoKey, nodeKey);
    const peer = id === undefined ? undefined : this.#peers[id];
    return peer !== undefined && this.isKeyOf(peer, discoKey) ? peer : undefined;
  }

  // Keys

  /** Another node key, 32 bytes, copied. */
  setNodeKey(peer: DiscoPeer, nodeKey: Uint8Array): void {
    this.#keysOf(peer).set(nodeKey);
  }

  /** The node key: 32 bytes, lent; undefined for no peer. */
  nodeKey(peer: DiscoPeer | undefined): Uint8Array | undefined {
    return peer && this.#keysOf(peer).subarray(0, DISCO_AT);
  }

  /** The disco key: 32 bytes, lent; undefined for none, and for no peer. */
  discoKey(peer: DiscoPeer | undefined): Uint8Array | undefined {
    return peer === undefined || peer.keyState === NO_KEY ? undefined : this.#keysOf(peer).subarray(DISCO_AT, BOX_AT);
  }

  /** Whether a peer has this disco key. */
  isKeyOf(peer: DiscoPeer, discoKey: Uint8Array): boolean {
    if (peer.keyState === NO_KEY) return false;
    return equalRange(this.#keys!, peer.id * ROW_BYTES + DISCO_AT, discoKey, 0, DISCO_KEY_BYTES);
  }

  /** Whether a peer in use, or one of the last senders, has this disco key. */
  knows(discoKey: Uint8Array): boolean {
    return this.#find(discoKey) !== undefined || this.#strangerAt(discoKey) >= 0;
  }

  /** The box key with the owner of a disco key, 32 bytes, lent; it is kept. Undefined for a key of low order. */
  boxKeyOf(discoKey: Uint8Array): Uint8Array | undefined {
    const peer = this.#find(discoKey);
    if (peer !== undefined) return this.boxKey(peer);
    let keys = this.#strangers[this.#strangerAt(discoKey)];
    if (keys === undefined) {
      keys = new Uint8Array(2 * DISCO_KEY_BYTES);
      keys.set(discoKey);
      if (!this.#suite.boxKey(keys.subarray(DISCO_KEY_BYTES), this.#privateKey.bytes, discoKey)) return undefined;
      if (this.#strangers.length >= this.#limits.strangers) this.#dropStranger(0); // CHECK: disco-strangers
      this.#strangers.push(keys);
    }
    return keys.subarray(DISCO_KEY_BYTES);
  }

  /** The box key with a peer, 32 bytes, lent; undefined for one without a disco key, or with one of low order. */
  boxKey(peer: DiscoPeer): Uint8Array | undefined {
    if (peer.keyState === NO_KEY || peer.keyState === BOX_NONE) return undefined;
    const box = this.#keysOf(peer).subarray(BOX_AT);
    if (peer.keyState === BOX_UNKNOWN)
      peer.keyState = this.#suite.boxKey(box, this.#privateKey.bytes, this.discoKey(peer)!) ? BOX_KNOWN : BOX_NONE;
    return peer.keyState === BOX_KNOWN ? box : undefined;
  }

  #keysOf(peer: DiscoPeer): Uint8Array {
    const at = peer.id * ROW_BYTES;
    return this.#keys!.subarray(at, at + ROW_BYTES); // INVARIANT: #makeRoom was called for it
  }

  #isNodeKeyOf(peer: DiscoPeer, nodeKey: Uint8Array): boolean {
    return equalRange(this.#keys!, peer.id * ROW_BYTES, nodeKey, 0, DISCO_KEY_BYTES);
  }

  #makeRoom(id: number): void {
    const old = this.#keys;
    const capacity = old === undefined ? 0 : old.length;
    if ((id + 1) * ROW_BYTES <= capacity) return;
    this.#keys = new Uint8Array(Math.max((id + 1) * ROW_BYTES, 2 * capacity));
    if (old === undefined) return;
    this.#keys.set(old);
    old.fill(0);
  }

  /** The first peer with this disco key. */
  #find(discoKey: Uint8Array): DiscoPeer | undefined {
    const peer = this.#byKey[this.#firstAt(discoKey)];
    return peer !== undefined && this.isKeyOf(peer, discoKey) ? peer : undefined;
  }

  /** Where the first peer with this disco key is in {@link #byKey}, or would be. */
  #firstAt(discoKey: Uint8Array): number {
    let low = 0;
    let high = this.#byKey.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#isBelow(this.#byKey[middle]!, discoKey)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Whether the disco key of a peer comes before another one. */
  #isBelow(peer: DiscoPeer, discoKey: Uint8Array): boolean {
    const at = peer.id * ROW_BYTES + DISCO_AT;
    for (let i = 0; i < DISCO_KEY_BYTES; i++) {
      const difference = this.#keys![at + i]! - discoKey[i]!;
      if (difference !== 0) return difference < 0;
    }
    return false;
  }

  #strangerAt(discoKey: Uint8Array): number {
    return this.#strangers.findIndex(keys => equalRange(keys, 0, discoKey, 0, DISCO_KEY_BYTES));
  }

  #dropStranger(at: number): void {
    this.#strangers[at]!.fill(0);
    this.#strangers.splice(at, 1);
  }
}

/** Throws TypeError or RangeError unless `key` is a Uint8Array of 32. */
export function expectKey(name: string, key: Uint8Array): void {
  if (!(key instanceof Uint8Array)) throw new TypeError(`"${name}" expected a Uint8Array, got ${typeof key}`);
  if (key.length !== DISCO_KEY_BYTES)
    throw new RangeError(`"${name}" expected ${DISCO_KEY_BYTES} bytes, got ${key.length}`);
}
