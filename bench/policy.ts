/**
 * What access rules cost: compiled for 100, 1,000 and 5,000 devices and 10, 100 and 1,000 rules, compiled again after one
 * device has changed; hostile files; and how long a right outlives the command that takes it away, over real sockets.
 *
 * It fails when a change of one device costs more than 5 % of a full compile at 1,000 devices, when a hostile file takes
 * more than a second, or when a device of 1,000 (the 99th percentile of them) lets something in for more
 * than two seconds.
 */
import { type CompileFigures, measureCompile } from './policy-compile.ts';
import { type HostileFigures, measureHostile } from './policy-hostile.ts';
import { type EnforcementFigures, measureEnforcement } from './policy-sockets.ts';

const DEVICES = Object.freeze([100, 1000, 5000]);
const RULES = Object.freeze([10, 100, 1000]);
/** Rounds of a size; a figure is the median of them. */
const ROUNDS = Object.freeze({ 100: 9, 1000: 5, 5000: 2 } as Readonly<Record<number, number>>);
const JUDGED_DEVICES = 1000;
const MOST_RATIO = 0.05;
const MOST_HOSTILE_MS = 1000;
const MOST_CUT_MS = 2000;

/** What {@link bench} takes. */
export interface BenchOptions {
  /** Fewer sizes, rounds and devices, for CI. */
  readonly isShort?: boolean;
}

/** What {@link bench} gives. */
export interface PolicyFigures {
  readonly compile: readonly CompileFigures[];
  /** A rule from all users to all devices, which has every device's filter made again when a user's device comes. */
  readonly broad: CompileFigures;
  readonly hostile: readonly HostileFigures[];
  /** Absent where Linux is not. */
  readonly enforcement?: EnforcementFigures;
  readonly [extra: string]: unknown;
}

/** Measures everything. Throws when a limit is not kept. */
export async function bench(options: BenchOptions = {}): Promise<PolicyFigures> {
  const isShort = options.isShort === true;
  measureCompile(100, 100, 3); // compiles the code
  const sizes = DEVICES.filter(devices => !isShort || devices <= JUDGED_DEVICES);
  const compile = sizes.flatMap(devices => RULES.map(rules => measured(devices, rules, isShort)));
  const broad = measured(JUDGED_DEVICES, 100, isShort, true);
  const hostile = measureHostile();
  process.stderr.write(`${hostile.length} hostile files are read\n`);
  const figures: PolicyFigures = { compile, broad, hostile };
  judge(figures);
  if (process.platform !== 'linux') return figures;
  const enforcement = await measureEnforcement(isShort ? 100 : 1000, isShort ? 1 : 3);
  const whole = { ...figures, enforcement };
  judge(whole);
  return whole;
}

function measured(devices: number, rules: number, isShort: boolean, isBroad = false): CompileFigures {
  const figures = measureCompile(devices, rules, isShort ? 3 : ROUNDS[devices]!, { isBroad });
  process.stderr.write(`${JSON.stringify(figures)}\n`);
  return figures;
}

function judge({ compile, broad, hostile, enforcement }: PolicyFigures): void {
  const problems: string[] = [];
  for (const { devices, rules, ratio } of [...compile, broad])
    if (devices === JUDGED_DEVICES && ratio > MOST_RATIO)
      problems.push(
        `${devices} devices, ${rules} rules: one change costs ${ratio} of a full compile, not ${MOST_RATIO}`,
      );
  for (const { name, says, readMs, checkMs } of hostile) {
    // What a valid file costs beyond its reading is the price of what it asks for, and no answer is kept back by it.
    const ms = says === 'valid' ? readMs : readMs + checkMs;
    if (ms > MOST_HOSTILE_MS) problems.push(`a hostile file (${name}) takes ${ms} ms, not ${MOST_HOSTILE_MS}`);
  }
  if (enforcement !== undefined)
    for (const [name, times] of Object.entries({ ...enforcement, devices: 0, rounds: 0 }))
      if (typeof times === 'object' && times.p99Ms > MOST_CUT_MS)
        problems.push(`${name}: a right is there for ${times.p99Ms} ms more (99th percentile), not ${MOST_CUT_MS}`);
  if (problems.length === 0) return;
  process.stderr.write(`${JSON.stringify({ compile, broad, hostile, enforcement })}\n`);
  throw new Error(problems.join('\n'));
}
