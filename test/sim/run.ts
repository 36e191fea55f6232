/**
 * `npm run sim`: plays the cases of the simulated world from many seeds.
 *
 *     npm run sim                      200 seeds: the NAT matrix from every even one, recoveries from the odd ones
 *     npm run sim -- --seeds 1000      more of them
 *     npm run sim -- --seed 17         one seed, as it was in the whole run
 *     npm run sim -- --case matrix     one case (or all that have these words in their name), from every seed
 *     npm run sim -- --pair none:linux one pair of the matrix
 *     npm run sim -- --json            one JSON object instead of the table
 *     npm run sim -- --list            the names of the cases
 *
 * A case that fails is played again, and must fail again in the same way; all its packets are left in a pcapng file.
 * Ends with `N passed, N failed, N skipped`. Exit code: 0 all passed, 1 something failed, 3 nothing was played.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { addTally, closingLine, emptyTally, exitCode } from '../tools/tally.ts';
import type { Outcome, SimCase } from './cases.ts';
import { matrixCase } from './matrix.ts';
import { PcapRecorder } from './pcap.ts';
import { RECOVERY_CASES } from './recoveries.ts';

const DEFAULT_SEEDS = 200;
/** Recoveries that an odd seed plays: all of them in so many seeds that follow. */
const RECOVERIES_PER_SEED = 4;
/** Failures that are played again for their packets. */
const MAX_CAPTURES = 5;
const MAX_LINES = 12;

const MATRIX = matrixCase();
const ALL_CASES: readonly SimCase[] = [MATRIX, ...RECOVERY_CASES];

/** The cases that a seed plays in a whole run. */
export function casesOf(seed: number): readonly SimCase[] {
  if (seed % 2 === 0) return [MATRIX];
  const first = ((seed - 1) / 2) * RECOVERIES_PER_SEED;
  return Array.from({ length: RECOVERIES_PER_SEED }, (_, i) => RECOVERY_CASES[(first + i) % RECOVERY_CASES.length]!);
}

/** The number that a case gets for a seed. The matrix takes turns by it, so even seeds are counted on. */
export function seedOf(simCase: SimCase, seed: number): number {
  return simCase === MATRIX && seed % 2 === 0 ? seed / 2 : seed;
}

interface Settings {
  readonly seeds: readonly number[];
  readonly cases: readonly SimCase[] | undefined;
  readonly pair: string | undefined;
  readonly isJson: boolean;
}

class Run {
  readonly tally = emptyTally();
  readonly times = new Map<string, number[]>();
  readonly failures: { seed: number; name: string; failures: readonly string[]; capture: string | undefined }[] = [];
  readonly #settings: Settings;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  async play(): Promise<void> {
    for (const seed of this.#settings.seeds)
      for (const simCase of this.#settings.cases ?? casesOf(seed)) await this.#playOne(simCase, seed);
  }

  async #playOne(simCase: SimCase, seed: number): Promise<void> {
    const outcome = await this.#outcomeOf(simCase, seed);
    for (const [name, times] of outcome.times) {
      const known = this.times.get(name);
      if (known === undefined) this.times.set(name, [...times]);
      else known.push(...times);
    }
    const isFine = outcome.failures.length === 0;
    addTally(this.tally, { passed: isFine ? 1 : 0, failed: isFine ? 0 : 1, skipped: 0 });
    if (isFine) return;
    const capture = this.failures.length < MAX_CAPTURES ? await this.#capture(simCase, seed, outcome) : undefined;
    this.failures.push({ seed, name: simCase.name, failures: outcome.failures, capture });
    if (!this.#settings.isJson) this.#tell(simCase, seed, outcome, capture);
  }

  async #outcomeOf(simCase: SimCase, seed: number, recorder?: PcapRecorder): Promise<Outcome> {
    const { pair } = this.#settings;
    const options = { ...(pair === undefined ? {} : { pair }), ...(recorder === undefined ? {} : { recorder }) };
    try {
      return await simCase.play(seedOf(simCase, seed), options);
    } catch (error) {
      return { failures: [error instanceof Error ? (error.stack ?? error.message) : String(error)], times: new Map() };
    }
  }

  async #capture(simCase: SimCase, seed: number, before: Outcome): Promise<string> {
    const recorder = new PcapRecorder();
    const again = await this.#outcomeOf(simCase, seed, recorder);
    const folder = join(tmpdir(), 'motenet-sim');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `${simCase.name.replaceAll(/[^a-z0-9]+/gi, '-')}-${seed}.pcapng`);
    writeFileSync(file, recorder.file());
    const isSame = JSON.stringify(again.failures) === JSON.stringify(before.failures);
    return `${file} (${recorder.packets} packets${isSame ? '' : '; THE SECOND PLAY WENT ANOTHER WAY'})`;
  }

  #tell(simCase: SimCase, seed: number, { failures }: Outcome, capture: string | undefined): void {
    console.log(`FAIL ${simCase.name}, seed ${seed}`);
    for (const failure of failures.slice(0, MAX_LINES)) console.log(`     ${failure}`);
    if (failures.length > MAX_LINES) console.log(`     and ${failures.length - MAX_LINES} more`);
    console.log(`     replay: npm run sim -- --seed ${seed} --case '${simCase.name}'`);
    if (capture !== undefined) console.log(`     packets: ${capture}`);
  }
}

/** Least, median, 95th of 100 and most of some times. */
export function summary(times: readonly number[]): {
  count: number;
  min: number;
  median: number;
  p95: number;
  max: number;
} {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!);
  return { count: sorted.length, min: at(0), median: at(0.5), p95: at(0.95), max: at(1) };
}

function printTimes(times: ReadonlyMap<string, readonly number[]>): void {
  const rows = [...times].map(([name, list]) => ({ name, ...summary(list) }));
  const width = Math.max(...rows.map(({ name }) => name.length), 0);
  console.log(`${'milliseconds of virtual time'.padEnd(width)}  count    min median    p95    max`);
  for (const { name, count, min, median, p95, max } of rows)
    console.log(`${name.padEnd(width)}${[count, min, median, p95, max].map(n => String(n).padStart(7)).join('')}`);
}

function readSettings(args: readonly string[]): Settings | string {
  const options = {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    case: { type: 'string' },
    pair: { type: 'string' },
    json: { type: 'boolean' },
    list: { type: 'boolean' },
  } as const;
  const { values } = parseArgs({ args: [...args], options });
  if (values.list === true) return ALL_CASES.map(({ name }) => name).join('\n');
  const number = (text: string | undefined, name: string, otherwise: number) => {
    const value = text === undefined ? otherwise : Number(text);
    if (!Number.isInteger(value) || value < 0) throw new RangeError(`--${name} expected a number, got ${text}`);
    return value;
  };
  const count = number(values.seeds, 'seeds', DEFAULT_SEEDS);
  const seeds =
    values.seed === undefined ? Array.from({ length: count }, (_, i) => i) : [number(values.seed, 'seed', 0)];
  const words = values.pair === undefined ? values.case : 'matrix';
  const exact = ALL_CASES.filter(({ name }) => name === words);
  const loose = words === undefined ? undefined : ALL_CASES.filter(({ name }) => name.includes(words));
  return { seeds, cases: exact.length > 0 ? exact : loose, pair: values.pair, isJson: values.json ?? false };
}

async function main(args: readonly string[]): Promise<void> {
  const settings = readSettings(args);
  if (typeof settings === 'string') return console.log(settings);
  const started = performance.now();
  const run = new Run(settings);
  await run.play();
  const times = Object.fromEntries([...run.times].map(([name, list]) => [name, summary(list)]));
  if (settings.isJson) {
    console.log(JSON.stringify({ ...run.tally, times, failures: run.failures }));
  } else {
    printTimes(run.times);
    console.log(`\n${settings.seeds.length} seeds in ${Math.round((performance.now() - started) / 1000)} s`);
  }
  console.log(closingLine(run.tally));
  process.exitCode = exitCode(run.tally);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
