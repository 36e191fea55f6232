/**
 * Who is at the relay: node keys by tailnet, each with its connections, and who has sent to whom.
 *
 * A key is looked up together with the tailnet of the one who asks: the same key in another tailnet is somebody else.
 */
import { readU32LE } from '../base/bytes.ts';
import { KEY_BYTES } from './frame.ts';
import { isSameKey } from './login.ts';

/** What is asked of a connection here. */
export interface MemberConnection {
  /** When it last wrote a frame. */
  readonly lastFrameMs: number;
}

/** A node key in a tailnet, with at least one connection. */
export class RelayMember<C extends MemberConnection> {
  readonly tailnet: string;
  readonly key: Uint8Array;
  readonly connections: C[] = [];
  /** The connection that wrote last: packets for the key go there. */
  active: C;
  /** The next member in the same bucket. */
  next: RelayMember<C> | undefined = undefined;
  /** Members that received a packet from this one, and members from which this one did. */
  readonly sentTo = new Set<RelayMember<C>>();
  readonly receivedFrom = new Set<RelayMember<C>>();
  /** To whom it sent last: most packets go to the same one. */
  lastSentTo: RelayMember<C> | undefined = undefined;

  /** The first connection is the active one. */
  constructor(tailnet: string, key: Uint8Array, connection: C) {
    this.tailnet = tailnet;
    this.key = key;
    this.active = connection;
  }
}

/** All members. */
export class RelayMembers<C extends MemberConnection> {
  /** Members now. */
  size = 0;
  /** Pairs of sender and receiver now. */
  pairs = 0;
  readonly #buckets = new Map<number, RelayMember<C>>();
  readonly #seed: number;
  readonly #pairs: number;
  readonly #pairsPerSender: number;

  /** `seed` is a random 32-bit number that keeps clients from choosing keys that collide. */
  constructor(seed: number, pairs: number, pairsPerSender: number) {
    this.#seed = seed;
    this.#pairs = pairs;
    this.#pairsPerSender = pairsPerSender;
  }

  /** The member of this tailnet with the key at `buf[at, at + 32)`. */
  find(tailnet: string, buf: Uint8Array, at: number): RelayMember<C> | undefined {
    let member = this.#buckets.get(this.#hash(buf, at));
    for (; member !== undefined; member = member.next) {
      if (member.tailnet !== tailnet) continue; // CHECK: derp-tailnet
      if (isSameKey(member.key, 0, buf, at)) return member;
    }
    return undefined;
  }

  /** Adds a connection to its key's member; the connection becomes the active one. */
  join(tailnet: string, key: Uint8Array, connection: C): RelayMember<C> {
    let member = this.find(tailnet, key, 0);
    if (member === undefined) {
      member = new RelayMember<C>(tailnet, key, connection);
      const hash = this.#hash(key, 0);
      member.next = this.#buckets.get(hash);
      this.#buckets.set(hash, member);
      this.size++;
    }
    member.connections.push(connection);
    member.active = connection;
    return member;
  }

  /** Takes a connection away. True when it was the last: the member is gone, but for {@link forget}. */
  leave(member: RelayMember<C>, connection: C): boolean {
    const { connections } = member;
    connections.splice(connections.indexOf(connection), 1);
    if (connections.length > 0) {
      if (member.active === connection) member.active = latest(connections);
      return false;
    }
    this.#unlink(member);
    return true;
  }

  /** Remembers that `from` sent to `to`, as far as the limits allow. */
  pair(from: RelayMember<C>, to: RelayMember<C>): void {
    if (from.lastSentTo === to) return;
    from.lastSentTo = to;
    if (from === to || from.sentTo.has(to)) return;
    if (this.pairs >= this.#pairs || from.sentTo.size >= this.#pairsPerSender) return; // CHECK: derp-pairs
    from.sentTo.add(to);
    to.receivedFrom.add(from);
    this.pairs++;
  }

  /** Forgets all pairs of a member. */
  forget(member: RelayMember<C>): void {
    this.pairs -= member.sentTo.size + member.receivedFrom.size;
    for (const to of member.sentTo) to.receivedFrom.delete(member);
    for (const from of member.receivedFrom) {
      from.sentTo.delete(member);
      if (from.lastSentTo === member) from.lastSentTo = undefined;
    }
    member.sentTo.clear();
    member.receivedFrom.clear();
    member.lastSentTo = undefined;
  }

  #unlink(member: RelayMember<C>): void {
    const hash = this.#hash(member.key, 0);
    const first = this.#buckets.get(hash);
    this.size--;
    if (first === member) {
      if (member.next === undefined) this.#buckets.delete(hash);
      else this.#buckets.set(hash, member.next);
      return;
    }
    let before = first;
    while (before !== undefined && before.next !== member) before = before.next;
    if (before !== undefined) before.next = member.next;
  }

  #hash(buf: Uint8Array, at: number): number {
    let hash = this.#seed;
    for (let i = 0; i < KEY_BYTES; i += 4) {
      hash = Math.imul(hash ^ readU32LE(buf, at + i), 0x9e37_79b1);
      hash ^= hash >>> 15;
    }
    return hash & 0x3fff_ffff; // small enough to be no heap number
  }
}

function latest<C extends MemberConnection>(connections: readonly C[]): C {
  return connections.reduce((best, other) => (other.lastFrameMs >= best.lastFrameMs ? other : best));
}
