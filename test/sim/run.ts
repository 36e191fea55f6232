/**
 * `npm run sim`: plays the cases of the simulated world from many seeds.
 *
 *     npm run sim                      200 seeds: the NAT matrix from every even one, the others from the odd ones
 *     npm run sim -- --seeds 1000      more of them
 *     npm run sim -- --seed 17         one seed, as it was in the whole run
 *     npm run sim -- --case matrix     one case (or all that have these words in their name), from every seed
 *     npm run sim -- --pair none:linux one pair of the matrix
 *     npm run sim -- --jobs 1          in one process; as many as there are cores unless told
 *     npm run sim -- --json            one JSON object instead of the table
 *     npm run sim -- --list            the names of the cases
 *
 * A case that fails is played again, and must fail again in the same way; all its packets are left in a pcapng file.
 * Ends with `N passed, N failed, N skipped`. Exit code: 0 all passed, 1 something failed, 3 nothing was played.
 */
import { fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { addTally, closingLine, emptyTally, exitCode } from '../tools/tally.ts';
import type { Outcome, SimCase } from './cases.ts';
import { matrixCase } from './matrix.ts';
import { PcapRecorder } from './pcap.ts';
import { PLACE_CASES } from './places.ts';
import { RECOVERY_CASES } from './recoveries.ts';

const DEFAULT_SEEDS = 200;
/** Of the other cases that an odd seed plays. */
const OTHERS_PER_SEED = 2;
const MAX_LINES = 12;

const MATRIX = matrixCase();
const OTHER_CASES: readonly SimCase[] = [...PLACE_CASES, ...RECOVERY_CASES];
const ALL_CASES: readonly SimCase[] = [MATRIX, ...OTHER_CASES];

/** The cases that a seed plays in a whole run. */
export function casesOf(seed: number): readonly SimCase[] {
  if (seed % 2 === 0) return [MATRIX];
  const first = ((seed - 1) / 2) * OTHERS_PER_SEED;
  return Array.from({ length: OTHERS_PER_SEED }, (_, i) => OTHER_CASES[(first + i) % OTHER_CASES.length]!);
}

/** The number that a case gets for a seed. The matrix takes turns by it, so even seeds are counted on. */
export function seedOf(simCase: SimCase, seed: number): number {
  return simCase === MATRIX && seed % 2 === 0 ? seed / 2 : seed;
}

/** What is asked for; plain data, so that it can be sent to another process. */
interface Settings {
  readonly seeds: readonly number[];
  /** Names; undefined: what each seed plays in a whole run. */
  readonly cases: readonly string[] | undefined;
  readonly pair: string | undefined;
  readonly isJson: boolean;
  readonly jobs: number;
}

/** What became of one case from one seed. */
export interface Played {
  readonly name: string;
  readonly seed: number;
  readonly failures: readonly string[];
  readonly times: Readonly<Record<string, readonly number[]>>;
  /** The file with the packets of a failure, and what there is to say of it. */
  readonly capture: string | undefined;
}

/** Plays all cases of one seed; those that fail twice, the second time with a recorder. */
export async function playSeed(seed: number, cases: readonly SimCase[], pair?: string): Promise<Played[]> {
  const played: Played[] = [];
  for (const simCase of cases) {
    const { failures, times } = await outcomeOf(simCase, seed, pair);
    const capture = failures.length > 0 ? await captureOf(simCase, seed, pair, failures) : undefined;
    played.push({ name: simCase.name, seed, failures, times: Object.fromEntries(times), capture });
  }
  return played;
}

async function outcomeOf(simCase: SimCase, seed: number, pair?: string, recorder?: PcapRecorder): Promise<Outcome> {
  const options = { ...(pair === undefined ? {} : { pair }), ...(recorder === undefined ? {} : { recorder }) };
  try {
    return await simCase.play(seedOf(simCase, seed), options);
  } catch (error) {
    return { failures: [error instanceof Error ? (error.stack ?? error.message) : String(error)], times: new Map() };
  }
}

async function captureOf(
  simCase: SimCase,
  seed: number,
  pair: string | undefined,
  before: readonly string[],
): Promise<string> {
  const recorder = new PcapRecorder();
  const again = await outcomeOf(simCase, seed, pair, recorder);
  const folder = join(tmpdir(), 'motenet-sim');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${simCase.name.replaceAll(/[^a-z0-9]+/gi, '-')}-${seed}.pcapng`);
  writeFileSync(file, recorder.file());
  const isSame = JSON.stringify(again.failures) === JSON.stringify(before);
  return `${file} (${recorder.packets} packets${isSame ? '' : '; THE SECOND PLAY WENT ANOTHER WAY'})`;
}

function casesFor(seed: number, names: readonly string[] | undefined): readonly SimCase[] {
  return names === undefined ? casesOf(seed) : ALL_CASES.filter(({ name }) => names.includes(name));
}

/** Hands seeds to processes, as many as asked for, and each result to `take`. */
async function playAll({ seeds, cases, pair, jobs }: Settings, take: (played: Played) => void): Promise<void> {
  if (jobs <= 1) {
    for (const seed of seeds) for (const played of await playSeed(seed, casesFor(seed, cases), pair)) take(played);
    return;
  }
  const waiting = [...seeds];
  const lane = async () => {
    const child = fork(fileURLToPath(import.meta.url), ['--worker'], { execArgv: process.execArgv });
    for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift()) {
      child.send({ seed, cases, pair });
      const played = await new Promise<Played[]>((resolve, reject) => {
        child.removeAllListeners();
        child.once('message', message => resolve(message as Played[]));
        child.once('exit', code => reject(new Error(`seed ${seed} ended its process (exit code ${code})`)));
      });
      for (const one of played) take(one);
    }
    child.removeAllListeners();
    child.disconnect();
  };
  await Promise.all(Array.from({ length: Math.min(jobs, seeds.length) }, lane));
}

function workForParent(): void {
  process.on('message', (message: { seed: number; cases?: string[]; pair?: string }) => {
    const { seed, cases, pair } = message;
    void playSeed(seed, casesFor(seed, cases), pair).then(played => process.send!(played));
  });
}

function tell({ name, seed, failures, capture }: Played): void {
  console.log(`FAIL ${name}, seed ${seed}`);
  for (const failure of failures.slice(0, MAX_LINES)) console.log(`     ${failure}`);
  if (failures.length > MAX_LINES) console.log(`     and ${failures.length - MAX_LINES} more`);
  console.log(`     replay: npm run sim -- --seed ${seed} --case '${name}'`);
  console.log(`     packets: ${capture}`);
}

/** Some times by rank, in ms; a time that never came is null in JSON. */
export interface Summary {
  readonly count: number;
  readonly min: number;
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

/** Least, median, 95th of 100 and most. */
export function summary(times: readonly number[]): Summary {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!);
  return { count: sorted.length, min: at(0), median: at(0.5), p95: at(0.95), max: at(1) };
}

function printTimes(rows: readonly (Summary & { readonly name: string })[]): void {
  const width = Math.max(...rows.map(({ name }) => name.length), 28);
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
    jobs: { type: 'string' },
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
  const cases = (exact.length > 0 ? exact : loose)?.map(({ name }) => name);
  const jobs = number(values.jobs, 'jobs', Math.min(availableParallelism(), seeds.length));
  return { seeds, cases, pair: values.pair, isJson: values.json ?? false, jobs };
}

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--worker')) return workForParent();
  const settings = readSettings(args);
  if (typeof settings === 'string') return console.log(settings);
  const { isJson, seeds } = settings;
  const started = performance.now();
  const tally = emptyTally();
  const times = new Map<string, number[]>();
  const failed: Played[] = [];
  await playAll(settings, played => {
    const isFine = played.failures.length === 0;
    addTally(tally, { passed: isFine ? 1 : 0, failed: isFine ? 0 : 1, skipped: 0 });
    for (const [name, list] of Object.entries(played.times)) times.set(name, [...(times.get(name) ?? []), ...list]);
    if (!isFine) failed.push(played);
    if (!isFine && !isJson) tell(played);
  });
  const rows = [...times].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, list]) => ({ name, ...summary(list) }));
  if (isJson) {
    console.log(JSON.stringify({ ...tally, seeds: seeds.length, times: rows, failures: failed }));
  } else {
    printTimes(rows);
    console.log(`\n${seeds.length} seeds in ${Math.round((performance.now() - started) / 1000)} s`);
  }
  console.log(closingLine(tally));
  process.exitCode = exitCode(tally);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void main(process.argv.slice(2));
