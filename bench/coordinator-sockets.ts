/**
 * The coordinator bench over real sockets: `motenet serve` in a process of its own, with its database, and members that
 * hold a control connection each while they watch. Times are as a member sees them: from the request until the last viewer has its
 * message, with encryption at both ends, and without the pause that gathers changes, since all is quiet before each one.
 * Processor time and memory are the server's alone, as Linux counts them.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseKeyText } from '../lib/crypto/key-text.ts';
import { selectSuite } from '../lib/crypto/select.ts';
import { createWasmSuite } from '../lib/crypto/wasm.ts';
import { host } from '../targets/node/host.ts';
import type { UpdateFigures } from './coordinator-inner.ts';
import { BenchMember, type Coordinated } from './coordinator-member.ts';

const FIXED_VIEWERS = 20;
/** Members that join at the same time. */
const JOINERS = 16;
/** Longer than a quiet time: every update is a message of its own. */
const PAUSE_MS = 150;
const LATE_MS = 20_000;
const COMMAND = [
  '--import',
  import.meta.resolve('tsx'),
  fileURLToPath(new URL('../targets/cli/main.ts', import.meta.url)),
];

/** What {@link measureSockets} gives. `mesh`: every member is a viewer. */
export interface SocketFigures extends UpdateFigures {
  readonly nodes: number;
  readonly joinPerSec: number;
  readonly mesh: UpdateFigures & { readonly openMs: number };
}

/** Figures with so many members. */
export async function measureSockets(nodes: number, isShort: boolean): Promise<SocketFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'motenet-bench-'));
  const server = await startServer(folder);
  try {
    return await measure(server, nodes, isShort);
  } finally {
    const ended = once(server.child, 'exit');
    server.child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Running {
  readonly child: ChildProcess;
  readonly given: Coordinated;
  readonly authKey: string;
}

async function startServer(folder: string): Promise<Running> {
  const at = ['--data', join(folder, 'data')];
  const flags = ['--listen', '127.0.0.1:0', '--relay-port', '0', '--stun-port', 'off', '--log', 'error', '--json'];
  const child = spawn(process.execPath, [...COMMAND, 'serve', ...at, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface(child.stdout)) {
    const event = JSON.parse(line);
    if (event.event !== 'ready') continue;
    child.stdout.resume();
    const url = new URL(event.url);
    const { publicKey } = (await (await fetch(`${event.url}/key?v=113`)).json()) as { publicKey: string };
    const suite = selectSuite([createWasmSuite]);
    const given = { url, serverKey: parseKeyText('mkey', publicKey)!, suite, random: host.random };
    const create = ['keys', 'create', ...at, '--reusable', '--json'];
    const { stdout } = await promisify(execFile)(process.execPath, [...COMMAND, ...create]);
    return { child, given, authKey: JSON.parse(stdout).key };
  }
  throw new Error('the server ended before it was ready; its message is above');
}

async function measure({ child, given, authKey }: Running, nodes: number, isShort: boolean): Promise<SocketFigures> {
  const members: BenchMember[] = [];
  const join_ = async () => {
    const member = new BenchMember(given);
    const index = members.push(member) - 1;
    await member.connect();
    await member.join(authKey, `host-${index}`);
    // Without a stream it is a stranger's connection, of which a source may not have many.
    if (index < FIXED_VIEWERS) await member.open();
    else member.close();
  };
  for (let i = 0; i < FIXED_VIEWERS; i++) await join_();
  const startMs = performance.now();
  const joiner = async () => {
    while (members.length < nodes) await join_();
  };
  await Promise.all(Array.from({ length: JOINERS }, joiner));
  const joinPerSec = Math.round((nodes - FIXED_VIEWERS) / ((performance.now() - startMs) / 1000));
  process.stderr.write(`${nodes} over sockets: ${joinPerSec} joins per second\n`);
  await pause(1000);
  const fixed = await measureUpdates(child.pid!, members, FIXED_VIEWERS, isShort ? 40 : 150);
  const openStart = performance.now();
  for (const member of members.slice(FIXED_VIEWERS)) await member.open();
  const openMs = (performance.now() - openStart) / (nodes - FIXED_VIEWERS);
  await pause(2000);
  const mesh = await measureUpdates(child.pid!, members, nodes, isShort ? 10 : 30);
  for (const member of members) member.close();
  return { nodes, joinPerSec, ...fixed, mesh: { openMs: round(openMs, 2), ...mesh } };
}

/** Endpoint changes, one at a time, until all viewers but the device itself have been told. */
async function measureUpdates(
  pid: number,
  members: BenchMember[],
  viewers: number,
  count: number,
): Promise<UpdateFigures> {
  const watching = members.slice(0, viewers);
  const [times, cpu]: [number[], number[]] = [[], []];
  const bytesOf = () => watching.reduce((sum, { bytes }) => sum + bytes, 0);
  let bytes = 0;
  for (let i = -Math.ceil(count / 5); i < count; i++) {
    await pause(PAUSE_MS);
    const device = members[(viewers + (i + count) * 7) % members.length]!;
    const others = watching.filter(member => member !== device);
    await device.reach();
    const [bytesBefore, cpuBefore] = [bytesOf(), cpuUs(pid)];
    const startMs = performance.now();
    const told = allTold(others);
    await Promise.all([device.update(2000 + i + count * 100), told]);
    const tookMs = performance.now() - startMs;
    if (!device.isStreaming) device.close();
    if (i < 0) continue; // warming up
    times.push(tookMs);
    cpu.push(cpuUs(pid) - cpuBefore);
    bytes += bytesOf() - bytesBefore;
  }
  return {
    viewers,
    updateP50Ms: round(quantile(times, 0.5), 3),
    updateP99Ms: round(quantile(times, 0.99), 3),
    bytesPerUpdate: Math.round(bytes / count),
    cpuPerUpdateUs: round(quantile(cpu, 0.5), 1),
    rssMB: Math.round(rssOf(pid) / 1e6),
  };
}

/** Resolves when each has had one more message. */
function allTold(members: readonly BenchMember[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = members.length;
    const timer = setTimeout(() => reject(new Error(`${left} viewers were not told in ${LATE_MS / 1000} s`)), LATE_MS);
    for (const member of members) {
      member.onMessage = () => {
        member.onMessage = () => undefined;
        if (--left > 0) return;
        clearTimeout(timer);
        resolve();
      };
    }
  });
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** Processor time of all threads so far, in microseconds. */
function cpuUs(pid: number): number {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`))
    ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  return ns / 1000;
}

function rssOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return Number(kilobytes) * 1024;
}

/** The value that this part of the sorted values is below. */
function quantile(values: readonly number[], part: number): number {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
