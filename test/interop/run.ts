/**
 * Interop against stock programs: `npm run interop [SUITE[/CASE]] [--json] [--quick] [--soak] [--stock-ends] [--list]`.
 *
 * Each case prints one sentence with its evidence; the last line says how many passed, failed and were skipped. A missing
 * stock program skips its cases and says what to run; with CI=true that is a failure. `--stock-ends` puts stock WireGuard
 * and the kernel at both ends, which tests the cases themselves. Exit codes: 0 all passed, 1 some failed, 2 wrong usage,
 * 3 no case ran.
 */
import { parseArgs } from 'node:util';
import type { Bench, Case } from './case.ts';
import { http2Cases } from './http2.ts';
import { disposeAllSync, Lab, sweep } from './lab.ts';
import { natCases } from './nat.ts';
import { makePair } from './pair.ts';
import { policyCases } from './policy.ts';
import { newestWireguardGo, whatIsMissing, wireguardGoVersion } from './programs.ts';
import { tailscaleCases } from './tailscale.ts';
import { cliCases } from './wireguard-cli.ts';
import { handshakeAndSessionCases } from './wireguard-handshake.ts';
import { hostileCases } from './wireguard-hostile.ts';
import { tcpCases } from './wireguard-tcp.ts';
import { trafficCases } from './wireguard-traffic.ts';

/** A suite: its cases, and the programs that all of them need. */
interface Suite {
  readonly needs: readonly string[];
  readonly cases: readonly Case[];
}

const SUITES: Readonly<Record<string, Suite>> = Object.freeze({
  wireguard: {
    needs: ['ip', 'setpriv', 'wg', 'wireguard-go'],
    cases: [...handshakeAndSessionCases, ...trafficCases, ...tcpCases, ...cliCases, ...hostileCases],
  },
  http2: {
    needs: ['setpriv', 'go'],
    cases: http2Cases,
  },
  tailscale: {
    needs: ['ip', 'setpriv', 'openssl', 'ss', 'curl', 'tailscaled'],
    cases: tailscaleCases,
  },
  nat: {
    needs: ['ip', 'setpriv', 'openssl', 'nft', 'tailscaled'],
    cases: natCases,
  },
  policy: {
    needs: ['ip', 'setpriv', 'openssl', 'tailscaled'],
    cases: policyCases,
  },
});

/** How many long cases may wait beside the one that works. */
const LONG_WIDTH = 8;

type Result = 'passed' | 'failed' | 'skipped';

interface Options {
  readonly isJson: boolean;
  readonly isQuick: boolean;
  readonly isSoak: boolean;
  readonly hasStockEnds: boolean;
}

class Runner {
  readonly options: Options;
  readonly counts = { passed: 0, failed: 0, skipped: 0 };

  constructor(options: Options) {
    this.options = options;
  }

  report(suite: string, one: Case, result: Result, evidence: string, seconds: number): void {
    this.counts[result]++;
    if (this.options.isJson) {
      const { name, title } = one;
      console.log(JSON.stringify({ suite, case: name, title, result, evidence, seconds: Number(seconds.toFixed(1)) }));
    } else if (result === 'skipped') console.log(`skipped: ${evidence} (${suite}/${one.name}: ${one.title})`);
    else {
      const word = result === 'passed' ? 'passed:' : 'FAILED:';
      console.log(`${word} ${suite}/${one.name}: ${one.title}\n        ${evidence} (${seconds.toFixed(1)} s)`);
    }
  }

  async runCase(suite: string, one: Case): Promise<void> {
    const startMs = performance.now();
    const lab = new Lab();
    const ends = this.options.hasStockEnds ? 'stock' : 'mote';
    const { isQuick, isSoak } = this.options;
    const bench: Bench = { lab, ends, isQuick, isSoak, pair: options => makePair(lab, ends, options) };
    const timeoutMs = one.timeoutMs ?? 60_000;
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${timeoutMs / 1000} s`)), timeoutMs);
    });
    const seconds = () => (performance.now() - startMs) / 1000;
    try {
      const evidence = await Promise.race([one.run(bench), timeout]);
      this.report(suite, one, 'passed', evidence, seconds());
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const tails = lab.tails();
      this.report(suite, one, 'failed', tails === '' ? text : `${text}\n${tails}`, seconds());
    } finally {
      clearTimeout(timer);
      await lab.dispose();
    }
  }

  /** Long cases start first and wait beside each other; the others run one by one. */
  async runSuite(name: string, suite: Suite, isWanted: (one: Case) => boolean): Promise<void> {
    const runnable: Case[] = [];
    for (const one of suite.cases.filter(isWanted)) {
      if (this.options.hasStockEnds && one.isMoteOnly === true) continue;
      const missing = whatIsMissing([...suite.needs, ...(one.needs ?? [])]) ?? whyNotHere();
      if (missing === undefined) runnable.push(one);
      else this.report(name, one, 'skipped', missing, 0);
    }
    const long = runnable.filter(one => one.isLong === true);
    long.sort((a, b) => (b.timeoutMs ?? 60_000) - (a.timeoutMs ?? 60_000));
    const lane = async () => {
      for (let one = long.shift(); one !== undefined; one = long.shift()) await this.runCase(name, one);
    };
    const lanes = Array.from({ length: LONG_WIDTH }, lane);
    for (const one of runnable) if (one.isLong !== true) await this.runCase(name, one);
    await Promise.all(lanes);
  }
}

function whyNotHere(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are not installed, run it on Linux';
  return process.getuid?.() === 0 ? undefined : 'root is not there, run sudo npm run interop';
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

async function main(): Promise<number> {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch (error) {
    fail((error as Error).message);
  }
  const { values, positionals } = parsed;
  const names = positionals.length > 0 ? positionals : Object.keys(SUITES);
  const wanted = names.map(name => {
    const [suite, filter] = name.split('/');
    const found = SUITES[suite!];
    if (found === undefined) fail(`there is no suite "${suite}"; there is: ${Object.keys(SUITES).join(', ')}`);
    return { name: suite!, suite: found, isWanted: (one: Case) => filter === undefined || one.name.includes(filter) };
  });
  if (values.list === true) {
    for (const { name, suite, isWanted } of wanted)
      for (const one of suite.cases.filter(isWanted)) console.log(`${name}/${one.name}: ${one.title}`);
    return 0;
  }
  const removed = sweep();
  if (removed > 0) process.stderr.write(`removed ${removed} leftovers of runs that were killed\n`);
  const stock = newestWireguardGo();
  if (stock !== undefined && values.json !== true)
    console.log(`stock WireGuard: wireguard-go ${wireguardGoVersion(stock)}`);
  const runner = new Runner({
    isJson: values.json === true,
    isQuick: values.quick === true,
    isSoak: values.soak === true,
    hasStockEnds: values['stock-ends'] === true,
  });
  for (const { name, suite, isWanted } of wanted) await runner.runSuite(name, suite, isWanted);
  const { passed, failed, skipped } = runner.counts;
  console.log(
    values.json === true ? JSON.stringify(runner.counts) : `${passed} passed, ${failed} failed, ${skipped} skipped`,
  );
  if (failed > 0 || (skipped > 0 && process.env.CI === 'true')) return 1;
  return passed > 0 ? 0 : 3;
}

function parse() {
  const flag = { type: 'boolean' } as const;
  return parseArgs({
    allowPositionals: true,
    options: { json: flag, quick: flag, soak: flag, 'stock-ends': flag, list: flag },
  });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    process.stderr.write(`${signal}: cleaning up\n`);
    disposeAllSync();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  });
process.on('exit', disposeAllSync);
process.exit(await main());
