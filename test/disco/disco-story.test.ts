import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at, publicOf, text } from './support.ts';
import { type Door, type Member, World } from './world.ts';

const test = suite('disco stories');

interface Pair {
  readonly world: World;
  readonly a: Member;
  readonly b: Member;
  /** Both send something every `everyMs` for so long. */
  readonly talk: (ms: number, everyMs?: number) => void;
}

function pairOf(doorA: Door, doorB: Door, seed = 1): Pair {
  const world = new World(seed);
  const a = world.add('198.51.100.1', doorA);
  const b = world.add('203.0.113.2', doorB);
  world.meet();
  const talk = (ms: number, everyMs = 500) =>
    world.run(ms, everyMs, () => {
      a.traffic(b);
      b.traffic(a);
    });
  return { world, a, b, talk };
}

function isDirect({ a, b }: Pair): boolean {
  const ways = [a.path(b), b.path(a)];
  if (ways[0] !== 'relay' && ways[1] !== 'relay') return true;
  assert.equal(ways, ['relay', 'relay']);
  return false;
}

const DOORS: readonly Door[] = ['open', 'firewall', 'easy', 'hard', 'blocked'];

/** A hole can be punched unless somebody has no UDP, or neither side's port can be told beforehand. */
function canBeDirect(a: Door, b: Door): boolean {
  if (a === 'blocked' || b === 'blocked') return false;
  if (a === 'hard') return b === 'open';
  if (b === 'hard') return a === 'open';
  return true;
}

for (const doorA of DOORS) {
  for (const doorB of DOORS) {
    const wanted = canBeDirect(doorA, doorB);
    test(`${doorA} and ${doorB} talk ${wanted ? 'directly' : 'through the relay'}`, () => {
      const pair = pairOf(doorA, doorB);
      pair.talk(10_000);
      assert.is(isDirect(pair), wanted);
      const { a, b, talk } = pair;
      const relayed = a.gotRelayed + b.gotRelayed;
      const direct = a.gotDirect + b.gotDirect;
      talk(10_000);
      if (wanted) assert.is(a.gotRelayed + b.gotRelayed, relayed, 'and no packet through the relay any more');
      else assert.is(a.gotDirect + b.gotDirect, direct);
      assert.ok(a.gotDirect + a.gotRelayed >= 20 && b.gotDirect + b.gotRelayed >= 20);
    });
  }
}

test('two machines behind NATs that keep a port are direct within a second', () => {
  const pair = pairOf('easy', 'easy');
  pair.talk(1_000, 100);
  assert.ok(isDirect(pair));
});

test('two machines that the netmap knows no address of stay on the relay until one is listed', () => {
  const world = new World();
  const a = world.add('198.51.100.1', 'easy');
  const b = world.add('203.0.113.2', 'easy');
  world.meet(false);
  const talk = () => world.run(10_000, 500, () => a.traffic(b));
  talk();
  assert.is(a.path(b), 'relay');
  assert.is(a.disco.status(b.id).why, 'no endpoints known');
  a.disco.updatePeer(world.nowMs, b.id, { endpoints: b.own() });
  talk();
  assert.is.not(a.path(b), 'relay');
});

test('one side alone that sends gets a direct path', () => {
  const pair = pairOf('easy', 'firewall');
  const { world, a, b } = pair;
  world.run(10_000, 500, () => a.traffic(b));
  assert.is.not(a.path(b), 'relay');
  assert.is(b.gotRelayed, 2, 'the first, and the one that went out together with the ping');
});

test('a third of all packets lost does not keep two machines apart', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const pair = pairOf('easy', 'easy', seed);
    pair.world.lossPercent = 33;
    pair.talk(60_000);
    const { a, b } = pair;
    const share = (a.gotDirect + b.gotDirect) / (a.gotDirect + a.gotRelayed + b.gotDirect + b.gotRelayed);
    assert.ok(share > 0.3, `seed ${seed}: ${share}`);
    const got = a.gotDirect + a.gotRelayed + b.gotDirect + b.gotRelayed;
    assert.ok(got > 242 * 0.67, `seed ${seed}: ${got} packets came, more than a third would be lost without the relay`);
  }
});

test('a trusted path carries all, and heartbeats keep it for as long as there is traffic', () => {
  const pair = pairOf('easy', 'easy');
  pair.talk(10_000);
  const { a, b } = pair;
  const relayed = a.gotRelayed + b.gotRelayed;
  pair.talk(600_000, 1_000);
  assert.is(a.gotRelayed + b.gotRelayed, relayed);
  assert.is(a.events.filter(({ type }) => type === 'path').length, 1);
});

test('without traffic all is quiet after a minute, and with it the path is back at once', () => {
  const pair = pairOf('easy', 'easy');
  const { world, a, b } = pair;
  pair.talk(10_000);
  world.run(60_000);
  const sent = a.sentPackets + b.sentPackets;
  world.run(3_600_000);
  assert.is(a.sentPackets + b.sentPackets, sent);
  assert.is(a.path(b), 'relay');
  a.traffic(b);
  assert.ok(a.disco.isRelayed && a.disco.direct !== undefined, 'both ways while it is in doubt');
  world.run(100);
  assert.is.not(a.path(b), 'relay');
});

test('when the path dies packets go through the relay, too, after 6.5 s at most', () => {
  const pair = pairOf('easy', 'easy');
  const { world, a, b } = pair;
  pair.talk(10_000);
  a.door = 'blocked';
  b.door = 'blocked';
  const relayed = b.gotRelayed;
  pair.talk(6_500 + 500, 100);
  assert.ok(b.gotRelayed > relayed);
  pair.talk(10_000);
  assert.is(a.path(b), 'relay');
  assert.is(a.disco.direct, undefined, 'and the dead path is not tried any more');
  assert.is(a.disco.status(b.id).why, 'no answer from 1 endpoint');
  a.door = 'easy';
  b.door = 'easy';
  pair.talk(12_000);
  assert.ok(isDirect(pair));
  assert.ok(world.nowMs > 0);
});

test('a NAT that has forgotten everything is passed again', () => {
  const pair = pairOf('easy', 'easy');
  const { a } = pair;
  pair.talk(10_000);
  const before = text(a.reflexive);
  a.mappings.clear();
  a.allowed.clear();
  a.mappings.set('', 55_000);
  pair.talk(40_000);
  assert.is.not(text(a.reflexive), before);
  assert.ok(isDirect(pair));
});

test('a machine that tells of its new address is found there before the old path is in doubt', () => {
  const pair = pairOf('easy', 'easy');
  const { world, a, b } = pair;
  pair.talk(10_000);
  a.mappings.clear();
  a.allowed.clear();
  a.mappings.set('', 55_000);
  a.disco.linkChanged(world.nowMs);
  pair.talk(1_000, 100);
  assert.is(b.path(a), '198.51.100.1:55000');
  assert.ok(isDirect(pair));
});

test('a peer that has started anew is found again under its new disco key', () => {
  const world = new World();
  const a = world.add('198.51.100.1', 'open');
  const b = world.add('203.0.113.2', 'open');
  const reborn = world.add('203.0.113.2', 'blocked');
  world.meet();
  world.run(5_000, 500, () => a.traffic(b));
  assert.is.not(a.path(b), 'relay');
  b.door = 'blocked';
  reborn.door = 'open';
  a.disco.updatePeer(world.nowMs, b.id, { discoKey: publicOf(reborn.id), nodeKey: reborn.nodeKey });
  a.disco.removePeer(world.nowMs, reborn.id);
  assert.is(a.path(b), 'relay');
  world.run(1_000, 100, () => a.traffic(b));
  assert.is.not(a.path(b), 'relay');
  assert.ok(reborn.gotDirect > 0);
});

test('without a relay two machines that can reach each other find each other all the same', () => {
  const pair = pairOf('open', 'easy');
  pair.world.hasRelay = false;
  pair.talk(10_000);
  assert.ok(isDirect(pair));
});

test('the nearer of two addresses is taken', () => {
  const pair = pairOf('open', 'open');
  const { world, a, b } = pair;
  const far = at('203.0.113.2:41641');
  b.disco.setOwnEndpoints(world.nowMs, [far]);
  pair.talk(2_000);
  assert.is(a.path(b), text(far));
  assert.is(a.disco.status(b.id).latencyMs, 20);
});

test('the same seed gives the same packets', () => {
  const run = () => {
    const pair = pairOf('easy', 'hard', 42);
    pair.world.lossPercent = 20;
    pair.talk(30_000);
    const { a, b } = pair;
    return [a.sentPackets, b.sentPackets, a.gotDirect, b.gotRelayed, JSON.stringify(a.events)];
  };
  assert.equal(run(), run());
});

test('twelve machines that all talk for a moment do not talk for ever', () => {
  const world = new World();
  for (let i = 0; i < 12; i++) world.add(`198.51.100.${i + 1}`, i % 2 === 0 ? 'easy' : 'open');
  world.meet();
  for (const a of world.members) for (const b of world.members) if (a !== b) a.traffic(b);
  world.run(60_000);
  const sent = world.members.reduce((sum, { sentPackets }) => sum + sentPackets, 0);
  world.run(600_000);
  assert.is(
    world.members.reduce((sum, { sentPackets }) => sum + sentPackets, 0),
    sent,
  );
  for (const { disco } of world.members) assert.is(disco.nextTimeout(), Infinity);
});

test.run();
