/**
 * Two tailnets on one coordinator: nothing of one is ever in the bytes for a device of the other. Every text of one
 * carries a canary, histories are random, and the raw bytes are searched.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

import { MapTailnet, sees } from '../../lib/coordinator/map-directory.ts';
import type { DeviceRecord } from '../../lib/coordinator/model.ts';
import { fuzzRounds } from '../tools/scale.ts';
import { device, hexKey, seeded, tailnet, user, World } from './map-support.ts';

const test = suite('map isolation');
const CANARY = 'canary';

/** A device of the tailnet whose secrets are looked for: each field has a trace of its own. */
function secret(id: number, turn: number): DeviceRecord {
  const trace = `${id}${turn}`.padStart(9, '7');
  return device(id, {
    tailnet: 'two',
    user: 90,
    name: `${CANARY}-${trace}`,
    hostname: `${CANARY}h${trace}`,
    os: `${CANARY}o`,
    nodeKey: `nodekey:${hexKey(0x0abc0000 + turn)}`,
    discoKey: `discokey:${hexKey(0x0abd0000 + turn)}`,
    addresses: ['100.99.88.77', `fd7a:115c:a1e0::abcd:${(turn + 1).toString(16)}`],
    endpoints: ['203.0.113.77:4177'],
    tags: turn % 3 === 0 ? [`tag:${CANARY}`] : [],
    homeRegion: 977,
    services: [{ Proto: 'peerapi4', Port: 4777 }],
    isApproved: turn % 7 !== 0,
  });
}

/** Policies of either tailnet: the traces are in what they name, and in what they let through. */
const policies = Object.freeze([
  '{"acls": []}',
  JSON.stringify({
    tagOwners: { [`tag:${CANARY}`]: [] },
    acls: [{ action: 'accept', src: [`${CANARY}-user@`, `tag:${CANARY}`], dst: ['*:*'] }],
    nodeAttrs: [{ target: ['*'], attr: ['funnel'] }],
  }),
  JSON.stringify({ acls: [{ action: 'accept', src: ['*'], dst: ['autogroup:member:22'] }] }),
]);

const TRACES = /canary|0abc0|0abd0|100\.99\.88|abcd:|203\.0\.113|977|4777|two\.mote|"7700/;

test('no byte of one tailnet reaches the other in random histories', () => {
  const seeds = fuzzRounds(8);
  let searched = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const random = seeded(seed);
    const pick = (most: number) => Math.floor(random() * most);
    const world = new World({ messageBytes: 700, cacheBytes: 3000 }, seeded(seed + 100));
    world.addTailnet('two', [user(90, 'two', `${CANARY}-user`)]);
    const own = new Set<number>();
    for (let turn = 1; turn <= 250; turn++) {
      const isOwn = pick(2) === 0;
      const id = isOwn ? 1 + pick(8) : 770_000 + pick(8);
      const record = world.records.get(id);
      const roll = pick(6);
      if (turn % 9 === 0)
        world.setPolicyText(pick(3) === 0 ? undefined : policies[pick(3)], pick(2) === 0 ? 'one' : 'two');
      if (record === undefined || roll < 2) world.put(isOwn ? device(id, { name: `n${turn}` }) : secret(id, turn));
      else if (roll === 2) world.remove(id);
      else if (roll === 3) world.pass(pick(3000));
      else if (roll === 4) world.change(id, { isApproved: pick(3) > 0 });
      else {
        const session = world.open(id, { isZstd: pick(2) === 0, isStream: pick(4) > 0 });
        if (isOwn) own.add(session);
        if (pick(4) === 0) world.frozen.add(session);
      }
      if (turn % 30 === 0) world.sessions.userChanged(world.nowMs, user(90, 'two', `${CANARY}-${turn}`));
    }
    world.frozen.clear();
    for (const id of world.readers.keys()) world.drain(id);
    world.pass(20_000);
    for (const id of own) {
      for (const text of world.readers.get(id)!.texts) {
        assert.not.match(text, TRACES);
        searched += text.length;
      }
    }
    const others = [...world.readers].filter(([id]) => !own.has(id)).flatMap(([, { texts }]) => texts);
    assert.match(others.join(), /canary-user.*|canaryh/, 'the traces are there to be found');
  }
  assert.ok(searched > 10_000 * seeds);
});

test('a device sees none of another tailnet, nor itself', () => {
  const [one, two] = [new MapTailnet(tailnet('one')), new MapTailnet(tailnet('two'))];
  const [a, b, c] = [one.add(device(1)), one.add(device(2)), two.add(device(3, { tailnet: 'two' }))];
  for (const entry of [a, b, c]) entry.judge();
  assert.equal([sees(a, b), sees(a, a), sees(a, c), sees(c, a)], [true, false, false, false]);
});

test('a device whose key is expired or that is not approved neither sees nor is seen', () => {
  const one = new MapTailnet(tailnet('one'));
  const [a, b] = [one.add(device(1)), one.add(device(2))];
  for (const [isExpired, isApproved] of [
    [true, true],
    [false, false],
  ] as const) {
    b.isExpired = isExpired;
    b.record = device(2, { isApproved });
    for (const entry of [a, b]) entry.judge();
    assert.equal([sees(a, b), sees(b, a)], [false, false]);
  }
});

test.run();
