/** Random histories: once everything has come to rest, every device knows exactly what it should. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fuzzRounds } from '../tools/scale.ts';
import { randomPolicy } from './map-naive.ts';
import { device, hexKey, type Reader, seeded, user, World } from './map-support.ts';

const test = suite('map model');
const IDS = 14;
const STEPS = 250;
const LOGINS = Object.freeze(['ann', 'bob', 'cy', 'dee']);
const TAGS: readonly (readonly string[])[] = Object.freeze([[], [], ['tag:a'], ['tag:b'], ['tag:a', 'tag:b']]);
const ROUTES = Object.freeze(['10.1.0.0/16', '10.2.0.0/16', 'fd00:1::/64', '0.0.0.0/0', '::/0']);

/** One random history; what it does follows from the seed. */
class History {
  readonly random: () => number;
  readonly world: World;
  /** Sessions that are open, by device. */
  readonly streams = new Map<number, number>();
  /** Whether some readers take nothing until everything is at rest. */
  mayFreeze = true;
  #keys = 10_000;

  constructor(seed: number) {
    this.random = seeded(seed);
    const limits = { messageBytes: seed % 2 === 0 ? 600 : 65_536, cacheBytes: seed % 3 === 0 ? 2000 : 1 << 20 };
    this.world = new World(limits, seeded(seed + 1));
    this.world.pieceBytes = seed % 4 === 0 ? 37 : 4096;
    for (const id of [2, 3]) this.setUser(id);
  }

  pick(most: number): number {
    return Math.floor(this.random() * most);
  }

  setUser(id: number): void {
    const tail = `${this.pick(1000)}${'x'.repeat(this.pick(40))}`;
    const record = user(id, 'one', this.random() < 0.7 ? LOGINS[this.pick(LOGINS.length)] : `u${id}-${tail}`);
    this.world.users.set(id, record);
    this.world.sessions.userChanged(this.world.nowMs, record);
  }

  step(): void {
    const { world } = this;
    const id = 1 + this.pick(IDS);
    const record = world.records.get(id);
    const roll = this.pick(22);
    if (roll >= 20) return this.setPolicy();
    if (record === undefined) return void (roll < 10 && this.join(id));
    if (roll === 0) this.leave(id);
    else if (roll < 5) this.connect(id);
    else if (roll === 5) this.disconnect(id);
    else if (roll === 6) world.pass(this.pick(400));
    else if (roll === 7) this.setUser(1 + this.pick(3));
    else if (roll === 8) this.someBytes();
    else if (roll === 9) world.pass(this.pick(12_000));
    else world.change(id, this.randomChange(id));
  }

  setPolicy(): void {
    const isNone = this.random() < 0.15;
    this.world.setPolicy(isNone ? undefined : randomPolicy(most => this.pick(most), LOGINS));
  }

  join(id: number): void {
    const changes = { ...this.randomChange(id), ...this.randomChange(id), nodeKey: `nodekey:${hexKey(this.#keys++)}` };
    this.world.put(device(id, changes));
  }

  leave(id: number): void {
    this.world.remove(id);
    this.streams.delete(id);
  }

  connect(id: number): void {
    const session = this.world.open(id, { isZstd: this.random() < 0.5, isSmall: this.random() < 0.3 });
    this.streams.set(id, session);
    if (this.mayFreeze && this.random() < 0.4) this.world.frozen.add(session);
    if (this.random() < 0.5) this.world.settle();
  }

  disconnect(id: number): void {
    const session = this.streams.get(id);
    if (session === undefined) return;
    this.world.sessions.close(this.world.nowMs, session);
    this.streams.delete(id);
  }

  /** A slow reader takes a little. */
  someBytes(): void {
    const sessions = [...this.streams.values()];
    if (sessions.length > 0) this.world.take(sessions[this.pick(sessions.length)]!, 1 + this.pick(900));
  }

  randomChange(id: number): Parameters<World['change']>[1] {
    const { unixMs } = this.world;
    const endpoints = Array.from(
      { length: this.pick(4) },
      () => `198.51.100.${this.pick(250)}:${1 + this.pick(60_000)}`,
    );
    const kinds: (() => Parameters<World['change']>[1])[] = [
      () => ({ endpoints }),
      () => ({ homeRegion: [0, 900, 901][this.pick(3)]! }),
      () => ({ isApproved: this.random() < 0.6 }),
      () => ({ name: `n${id}-${this.pick(50)}` }),
      () => ({ discoKey: this.random() < 0.2 ? '' : `discokey:${hexKey(this.#keys++)}` }),
      () => ({ nodeKey: `nodekey:${hexKey(this.#keys++)}`, keyExpiryMs: unixMs + 1000 * (1 + this.pick(100)) }),
      () => ({ keyExpiryMs: [0, unixMs - 5000, unixMs + 1000 * this.pick(60)][this.pick(3)]! }),
      () => ({ capability: [0, 68, 113, 130][this.pick(4)]! }),
      () => ({ user: 1 + this.pick(3) }),
      () => ({ tags: TAGS[this.pick(TAGS.length)]! }),
      () => ({ advertisedRoutes: ROUTES.filter(() => this.random() < 0.4) }),
      () => ({ advertisedRoutes: ROUTES.slice(0, 2), approvedRoutes: ROUTES.filter(() => this.random() < 0.5) }),
      () => ({ hostname: `h"\\\u0000\ud800é${this.pick(99)}` }),
      () => ({ endpoints, discoKey: `discokey:${hexKey(this.#keys++)}`, homeRegion: 901 }),
    ];
    return kinds[this.pick(kinds.length)]!();
  }

  /** Slow readers take up again what they get; everything comes to rest. */
  rest(): void {
    const { world } = this;
    world.frozen.clear();
    for (const id of this.streams.values()) world.drain(id);
    world.pass(15_000);
    for (const [id, session] of this.streams) {
      const reader = world.readers.get(session)!;
      if (reader.end === undefined) this.compare(id, reader);
      else if (reader.end !== 'slow') throw new Error(`the stream of ${id} ended: ${reader.end}`);
    }
  }

  /** After the pause that gathers changes everybody is told of them all. */
  compareAll(): number {
    const { world, streams } = this;
    world.pass(150);
    let compared = 0;
    for (const [id, session] of streams) {
      const reader = world.readers.get(session)!;
      if (reader.end !== undefined || !world.records.has(id)) continue;
      this.compare(id, reader);
      compared++;
    }
    return compared;
  }

  compare(id: number, reader: Reader): void {
    assert.equal(this.world.known(reader), this.world.expected(id, reader.isSmall), `device ${id}`);
  }
}

test('every reader knows exactly what it should after a random history', () => {
  const seeds = fuzzRounds(14);
  let compared = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const history = new History(seed);
    for (let step = 1; step <= STEPS; step++) {
      history.step();
      if (step % 50 === 0) history.rest();
    }
    for (const id of history.streams.values()) if (history.world.readers.get(id)!.end === undefined) compared++;
  }
  assert.ok(compared > 2 * seeds);
});

test('after every step every reader knows what policy, tags, routes and users then say', () => {
  const seeds = fuzzRounds(6);
  let [compared, withPolicy] = [0, 0];
  for (let seed = 1001; seed <= 1000 + seeds; seed++) {
    const history = new History(seed);
    history.mayFreeze = false;
    for (let id = 1; id <= 8; id++) history.join(id);
    history.setPolicy();
    for (let step = 1; step <= 120; step++) {
      history.step();
      const count = history.compareAll();
      compared += count;
      if (history.world.policy !== undefined) withPolicy += count;
    }
  }
  assert.ok(compared > 200 * seeds && withPolicy > 100 * seeds, `${compared} ${withPolicy}`);
});

test.run();
