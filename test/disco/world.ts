/**
 * Machines on one clock, with what lies between them: addresses, links that lose and delay, firewalls, NATs of two kinds,
 * and a relay. Only as much as path discovery can tell apart; the simulator has the rest.
 */
import type { Endpoint } from '../../lib/base/address.ts';
import { toHex } from '../../lib/base/bytes.ts';
import { DropCounters } from '../../lib/base/drop.ts';
import { Slot } from '../../lib/base/slot.ts';
import { Disco } from '../../lib/disco/disco.ts';
import { DISCO_LIMITS_LARGE } from '../../lib/disco/limits.ts';
import type { DiscoEvent } from '../../lib/disco/types.ts';
import { Seeded } from '../crypto/support.ts';
import { at, noble, publicOf, secretOf, text } from './support.ts';

/** What stands in front of a machine. Filtering is by address and port: only who was sent to may answer. */
export type Door =
  /** Nothing. */
  | 'open'
  /** A firewall: lets in who was sent to. */
  | 'firewall'
  /** A NAT that keeps one port for everybody (RFC 4787 endpoint-independent mapping). */
  | 'easy'
  /** A NAT with another port for each destination (address and port-dependent mapping). */
  | 'hard'
  /** No UDP at all. */
  | 'blocked';

const WIREGUARD_BYTE = 4;

/** One machine. */
export class Member {
  readonly disco: Disco;
  readonly drops = new DropCounters();
  readonly events: DiscoEvent[] = [];
  /** UDP and relay packets that came and went; WireGuard ones counted by way. */
  sentPackets = 0;
  gotDirect = 0;
  gotRelayed = 0;
  /** By destination text: the public port in use; and who may come in. */
  readonly mappings = new Map<string, number>();
  readonly allowed = new Set<string>();
  #nextPort = 30_000;

  readonly world: World;
  readonly id: number;
  readonly address: string;
  door: Door;

  constructor(world: World, id: number, address: string, door: Door) {
    this.world = world;
    this.id = id;
    this.address = address;
    this.door = door;
    const random = (out: Uint8Array) => out.set(world.seeded.bytes(out.length));
    this.disco = new Disco({
      nowMs: world.nowMs,
      random,
      suite: noble,
      privateKey: secretOf(id),
      nodeKey: this.nodeKey,
      limits: DISCO_LIMITS_LARGE,
      drops: this.drops,
      owner: { knowsPeer: () => false, resolvePeer: () => undefined },
    });
  }

  get nodeKey(): Uint8Array {
    return publicOf(this.id + 100);
  }

  /** Where STUN says that this machine is. */
  get reflexive(): Endpoint {
    return this.source(at('192.0.2.3:3478'));
  }

  /** The public address for packets to a destination. */
  source(to: Endpoint): Endpoint {
    if (this.door === 'open' || this.door === 'firewall') return at(`${this.address}:41641`);
    const key = this.door === 'easy' ? '' : text(to);
    let port = this.mappings.get(key);
    if (port === undefined) {
      port = this.#nextPort++;
      this.mappings.set(key, port);
    }
    return { address: this.address, port };
  }

  /** Whether a packet that comes to a public address gets in. */
  lets(to: Endpoint, from: Endpoint): boolean {
    if (this.door === 'open') return to.port === 41_641;
    if (this.door === 'firewall') return to.port === 41_641 && this.allowed.has(text(from));
    if (this.door === 'blocked') return false;
    for (const [key, port] of this.mappings)
      if (port === to.port) return key === '' ? this.allowed.has(text(from)) : key === text(from);
    return false;
  }

  /** Sends one packet of user traffic to a peer. */
  traffic(peer: Member): void {
    this.disco.choosePath(this.world.nowMs, peer.id);
    const { direct, isRelayed } = this.disco;
    const packet = Uint8Array.of(WIREGUARD_BYTE, 0, 0, 0);
    if (direct !== undefined) this.world.udp(this, direct, packet);
    if (isRelayed) this.world.relay(this, peer.nodeKey, packet);
    this.drain();
  }

  /** The direct path to a peer, or `relay`. */
  path(peer: Member): string {
    const { endpoint } = this.disco.status(peer.id, this.world.nowMs);
    return endpoint === undefined ? 'relay' : text(endpoint);
  }

  /** Carries away what the machine has to say. */
  drain(): void {
    const { world, disco } = this;
    for (let event = disco.pollEvent(); event !== undefined; event = disco.pollEvent()) {
      this.events.push(event);
      if (event.type === 'endpoints-wanted') disco.setOwnEndpoints(world.nowMs, this.own());
    }
    const slot = new Slot(1400);
    while (disco.pollTransmit(world.nowMs, slot)) {
      const bytes = slot.buf.slice(slot.start, slot.end);
      if (slot.to !== undefined) world.udp(this, slot.to, bytes);
      else world.relay(this, disco.relayPeer!, bytes);
    }
  }

  own(): Endpoint[] {
    return this.door === 'blocked' ? [] : [this.reflexive];
  }

  receive(bytes: Uint8Array, from: Endpoint): void {
    if (bytes[0] === WIREGUARD_BYTE) {
      this.gotDirect++;
      for (const peer of this.world.members)
        if (peer !== this && peer.address === from.address) this.disco.noteReceived(this.world.nowMs, peer.id, from);
    } else this.disco.handleDatagram(this.world.nowMs, bytes, 0, bytes.length, from);
    this.drain();
  }

  receiveRelayed(bytes: Uint8Array, source: Uint8Array): void {
    if (bytes[0] === WIREGUARD_BYTE) this.gotRelayed++;
    else this.disco.handleRelayed(this.world.nowMs, bytes, 0, bytes.length, 1, source);
    this.drain();
  }
}

/** All of it. */
export class World {
  nowMs = 0;
  readonly seeded: Seeded;
  readonly members: Member[] = [];
  /** Share of packets that are lost, in hundredths, and one-way delays. */
  lossPercent = 0;
  delayMs = 10;
  relayDelayMs = 30;
  hasRelay = true;
  readonly #flying: { atMs: number; order: number; land: () => void }[] = [];
  #order = 0;

  constructor(seed = 1) {
    this.seeded = new Seeded(seed);
  }

  add(address: string, door: Door): Member {
    const member = new Member(this, this.members.length + 1, address, door);
    this.members.push(member);
    return member;
  }

  /** Tells everybody of everybody. `listed`: whether the netmap has addresses. */
  meet(listed = true): void {
    for (const member of this.members) {
      for (const peer of this.members) {
        if (peer === member) continue;
        member.disco.addPeer(this.nowMs, peer.id, {
          nodeKey: peer.nodeKey,
          discoKey: publicOf(peer.id),
          endpoints: listed ? peer.own() : [],
          region: 1,
        });
      }
    }
  }

  udp(from: Member, to: Endpoint, bytes: Uint8Array): void {
    from.sentPackets++;
    if (from.door === 'blocked') return;
    const source = from.source(to);
    from.allowed.add(text(to));
    if (this.seeded.below(100) < this.lossPercent) return;
    this.#fly(this.delayMs, () => {
      for (const member of this.members)
        if (member.address === to.address && member.lets(to, source)) member.receive(bytes.slice(), source);
    });
  }

  relay(from: Member, to: Uint8Array, bytes: Uint8Array): void {
    from.sentPackets++;
    if (!this.hasRelay) return;
    const name = toHex(to);
    this.#fly(this.relayDelayMs, () => {
      for (const member of this.members)
        if (toHex(member.nodeKey) === name) member.receiveRelayed(bytes.slice(), from.nodeKey);
    });
  }

  /** Goes on for so long, with `every(nowMs)` called each `everyMs`. */
  run(ms: number, everyMs = Infinity, every: () => void = () => {}): void {
    const endMs = this.nowMs + ms;
    let nextMs = everyMs === Infinity ? Infinity : this.nowMs;
    for (;;) {
      const dueMs = Math.min(
        this.#flying[0]?.atMs ?? Infinity,
        nextMs,
        ...this.members.map(m => m.disco.nextTimeout()),
      );
      if (dueMs > endMs) break;
      this.nowMs = Math.max(this.nowMs, dueMs);
      while (this.#flying.length > 0 && this.#flying[0]!.atMs <= this.nowMs) this.#flying.shift()!.land();
      for (const { disco } of this.members) if (disco.nextTimeout() <= this.nowMs) disco.handleTimeout(this.nowMs);
      if (nextMs <= this.nowMs) {
        every();
        nextMs += everyMs;
      }
      for (const member of this.members) member.drain();
    }
    this.nowMs = endMs;
  }

  #fly(delayMs: number, land: () => void): void {
    this.#flying.push({ atMs: this.nowMs + delayMs, order: this.#order++, land });
    this.#flying.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
  }
}
