/** A handful of what `npm run sim` plays, and that it can fail. */
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BEHAVIOURS } from './behaviours.ts';
import type { PlayOptions } from './cases.ts';
import { matrixCase } from './matrix.ts';
import { PcapRecorder } from './pcap.ts';
import { PLACE_CASES } from './places.ts';
import { RECOVERY_CASES } from './recoveries.ts';
import { casesOf, playSeed, seedOf, summary } from './run.ts';
import { flaws } from './traffic.ts';

const test = suite('sim');
const FEW = new Map(
  [...BEHAVIOURS].filter(([name]) => ['none', 'ei-apd', 'ad-ad', 'apd-apd', 'blocked'].includes(name)),
);

async function failures(seed: number, options: PlayOptions = {}): Promise<readonly string[]> {
  return (await matrixCase(FEW).play(seed, options)).failures;
}

for (const seed of [0, 1]) {
  test(`every pair finds its direct path, or stays on the relay, as the oracle says (seed ${seed})`, async () => {
    const outcome = await matrixCase().play(seed);
    assert.equal(outcome.failures, []);
    assert.is(outcome.times.get('first echo')?.length, (BEHAVIOURS.size * (BEHAVIOURS.size + 1)) / 2);
  });
}

for (const simCase of [...PLACE_CASES, ...RECOVERY_CASES]) {
  test(`${RECOVERY_CASES.includes(simCase) ? 'recovers' : 'place'}: ${simCase.name}`, async () => {
    assert.equal((await simCase.play(1)).failures, []);
  });
}

test('without STUN the direct paths that need it are missed, and that is told', async () => {
  const missed = await failures(0, {
    prepare: ({ relays }) => {
      for (const relay of relays) relay.answersStun = false;
    },
  });
  assert.ok(missed.some(text => text.startsWith('ei-apd:ei-apd: path is relay after 3000 ms, direct expected')));
  assert.not.ok(missed.some(text => text.startsWith('none:')));
});

test('without relays nothing flows, and that is told', async () => {
  const missed = await failures(0, {
    prepare: tailnet => {
      for (const { options } of tailnet.relays) tailnet.killRelay(options.region);
    },
  });
  assert.ok(
    missed.some(text => text.includes('first echo after')),
    missed.join('\n'),
  );
  assert.ok(missed.some(text => text.includes('lost 0')));
});

test('a case that fails is played again with all its packets, and says so', async () => {
  const broken = {
    name: 'sim test: broken',
    play: async (seed: number, options: PlayOptions = {}) => {
      const { failures: found, times } = await matrixCase(FEW).play(seed, { ...options, pair: 'none:none' });
      return { failures: [...found, 'always'], times };
    },
  };
  const [played] = await playSeed(7, [broken]);
  assert.equal(played!.failures, ['always']);
  assert.match(played!.capture!, /sim-test-broken-7\.pcapng \(\d+ packets\)$/, 'the second play went the same way');
  const file = readFileSync(played!.capture!.split(' (')[0]!);
  assert.is(file.readUInt32LE(0), 0x0a0d0d0a);
});

test('the same seed sends the same packets, motes and all', async () => {
  const record = async (seed: number) => {
    const recorder = new PcapRecorder();
    await matrixCase(FEW).play(seed, { recorder, pair: 'ei-apd:ad-ad' });
    return recorder.file();
  };
  const first = await record(5);
  assert.equal(await record(5), first);
  assert.is.not((await record(6)).length, first.length);
});

test('two hundred seeds play every ordered pair and every other case', () => {
  const matrixSeeds = [];
  const others = new Set<string>();
  for (let seed = 0; seed < 200; seed++) {
    for (const simCase of casesOf(seed)) {
      if (simCase.name === 'matrix') matrixSeeds.push(seedOf(simCase, seed));
      else others.add(simCase.name);
    }
  }
  assert.equal(
    matrixSeeds,
    Array.from({ length: 100 }, (_, i) => i),
  );
  assert.is(others.size, PLACE_CASES.length + RECOVERY_CASES.length);
});

test('flaws of a flow are named', () => {
  const arrive = (...numbers: number[]) => numbers.map(number => ({ number, atMs: 0 }));
  assert.is(flaws(arrive(0, 1, 2), 3), '');
  assert.is(flaws(arrive(0, 2), 3), 'lost 1');
  assert.is(flaws(arrive(0, 2, 1), 3), 'order 0 2 1');
  assert.is(flaws(arrive(0, 1, 1, 2), 3), 'order 0 1 1 2');
});

test('times are summed up by rank', () => {
  assert.equal(summary([3, 1, 2]), { count: 3, min: 1, median: 2, p95: 3, max: 3 });
});

test.run();
