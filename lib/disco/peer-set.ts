/**
 * The peers in use: by id, by node key, by disco key. Also the way to those that are not in use yet.
 */
import { equalBytes } from '../base/bytes.ts';
import { flatHex } from './flat-hex.ts';
import type { DiscoKey, KeyRing } from './key-ring.ts';
import { DISCO_KEY_BYTES } from './message.ts';
import { DiscoPeer } from './peer.ts';
import type { DiscoOptions, DiscoPeerConfig } from './types.ts';

/** All peers of a device. */
export class PeerSet {
  readonly #options: DiscoOptions;
  readonly #ownKey: Uint8Array;
  readonly #keys: KeyRing;
  readonly #byId = new Map<number, DiscoPeer>();
  readonly #byNode = new Map<string, DiscoPeer>();

  /** None yet. `ownKey` is our public disco key. */
  constructor(options: DiscoOptions, ownKey: Uint8Array, keys: KeyRing) {
    this.#options = options;
    this.#ownKey = ownKey;
    this.#keys = keys;
  }

  /** The peer with this id. */
  get(id: number): DiscoPeer | undefined {
    return this.#byId.get(id);
  }

  /** The same; RangeError when there is none. */
  expect(id: number): DiscoPeer {
    const peer = this.#byId.get(id);
    if (peer === undefined) throw new RangeError(`"id" expected a peer, got ${id}`);
    return peer;
  }

  /** All of them. */
  values(): Iterable<DiscoPeer> {
    return this.#byId.values();
  }

  /** Adds one. RangeError for an id that is taken, or keys that have not 32 bytes. */
  add(nowMs: number, id: number, { nodeKey, discoKey, region, endpoints }: DiscoPeerConfig): void {
    expectKey('nodeKey', nodeKey);
    if (discoKey !== undefined) expectKey('discoKey', discoKey);
    if (this.#byId.has(id)) throw new RangeError(`"id" expected a new one, got ${id}`);
    const peer = new DiscoPeer(id, nodeKey, flatHex(nodeKey), this.#options.limits);
    peer.region = region;
    this.#byId.set(id, peer);
    this.#byNode.set(peer.nodeText, peer);
    this.setDiscoKey(peer, discoKey);
    peer.list(nowMs, endpoints);
  }

  /** Forgets one. */
  remove(peer: DiscoPeer): void {
    peer.isGone = true;
    this.#byId.delete(peer.id);
    this.#forgetNode(peer);
    this.setDiscoKey(peer, undefined);
  }

  /** Another node key, 32 bytes. */
  setNodeKey(peer: DiscoPeer, nodeKey: Uint8Array): void {
    this.#forgetNode(peer);
    peer.nodeKey = nodeKey.slice();
    peer.nodeText = flatHex(nodeKey);
    this.#byNode.set(peer.nodeText, peer);
  }

  /** Another disco key, 32 bytes, or none. Nobody has ours: with it, we would talk to ourselves. */
  setDiscoKey(peer: DiscoPeer, discoKey: Uint8Array | undefined): void {
    if (peer.key !== undefined) this.#keys.leave(peer.key);
    peer.key = undefined;
    if (discoKey === undefined) return;
    if (equalBytes(discoKey, this.#ownKey)) return; // CHECK: disco-own-key
    peer.key = this.#keys.join(discoKey);
  }

  /** The peer that has this disco key and this node key; it may be added for it. */
  withKeys(nowMs: number, key: DiscoKey, nodeKey: Uint8Array): DiscoPeer | undefined {
    const known = this.#byNode.get(flatHex(nodeKey));
    if (known?.key !== undefined) return known.key.text === key.text ? known : undefined;
    const peer = this.#resolve(nowMs, key, nodeKey);
    return peer !== undefined && equalBytes(peer.nodeKey, nodeKey) ? peer : undefined;
  }

  /** The peer that a ping is from: the one whose node key it names, or else the only one that has the disco key. */
  ofPing(nowMs: number, key: DiscoKey, nodeKey: Uint8Array | undefined): DiscoPeer | undefined {
    const named = nodeKey === undefined ? undefined : this.withKeys(nowMs, key, nodeKey);
    return named ?? this.#resolve(nowMs, key, undefined);
  }

  #resolve(nowMs: number, key: DiscoKey, nodeKey: Uint8Array | undefined): DiscoPeer | undefined {
    const id = this.#options.resolvePeer(nowMs, key.bytes, nodeKey);
    const peer = id === undefined ? undefined : this.#byId.get(id);
    return peer?.key?.text === key.text ? peer : undefined;
  }

  #forgetNode(peer: DiscoPeer): void {
    if (this.#byNode.get(peer.nodeText) === peer) this.#byNode.delete(peer.nodeText);
  }
}

/** Throws TypeError or RangeError unless `key` is a Uint8Array of 32. */
export function expectKey(name: string, key: Uint8Array): void {
  if (!(key instanceof Uint8Array)) throw new TypeError(`"${name}" expected a Uint8Array, got ${typeof key}`);
  if (key.length !== DISCO_KEY_BYTES)
    throw new RangeError(`"${name}" expected ${DISCO_KEY_BYTES} bytes, got ${key.length}`);
}
