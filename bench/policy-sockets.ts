/**
 * How long a right outlives the command that takes it away: `motenet serve` in a process of its own, with its database, and
 * online devices over real sockets, each with a packet filter that obeys its map stream.
 *
 * A neighbour's packet that the right is about is judged by each device's filter before its message is applied and behind
 * it: let in, then refused. The time of a device is from the command until the bytes with its message have come, and what it
 * takes to decrypt, read and apply them. All devices share one process, in which bytes wait, with their times, until all
 * have theirs: so none waits for the others' work, which it would not in a process of its own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parsePrefix } from '../lib/base/address.ts';
import { DropCounters } from '../lib/base/drop.ts';
import type { AdminCommand, AdminResults } from '../lib/coordinator/commands.ts';
import { parseKeyText } from '../lib/crypto/key-text.ts';
import { selectSuite } from '../lib/crypto/select.ts';
import { createWasmSuite } from '../lib/crypto/wasm.ts';
import { PacketFilter } from '../lib/filter/filter.ts';
import { FILTER_LIMITS_LARGE } from '../lib/filter/limits.ts';
import type { WireFilterRule } from '../lib/filter/rule.ts';
import { classify, Packet } from '../lib/packet/classify.ts';
import { type AdminClient, openAdmin } from '../targets/cli/admin-client.ts';
import { host } from '../targets/node/host.ts';
import { type Coordinated, LightMember } from '../test/interop/policy-member.ts';
import { buildPacket, TCP } from '../test/interop/policy-packets.ts';

const TAILNET = 'default';
/** Members that join at the same time. */
const JOINERS = 16;
const LATE_MS = 60_000;
/** Bytes wait until none have come for so long; after some patience they are handled, whoever else has none. */
const GATHER_MS = 400;
const POLL_MS = 100;
const PATIENCE_MS = 20_000;
/** After so long without a message, in which the server has had no more than this to do, all have been told. */
const QUIET_MS = 1000;
/** The same where there are few devices. */
const SHORT_QUIET_MS = 300;
const FEW_DEVICES = 200;
const IDLE_CPU_MS = 60;
/** The right that is given and taken. */
const PORT = 22;
const MAIN = fileURLToPath(new URL('../targets/cli/main.ts', import.meta.url));

/** Times in ms from the command, over all devices and rounds. */
export interface CutTimes {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Until the command was answered. */
  readonly commandMs: number;
  /** Processor time that the server took for the change, and this process, with all devices, for its end of it. */
  readonly serverCpuMs: number;
  readonly devicesCpuMs: number;
  /** Of its map stream, that one device was sent for the change. */
  readonly bytesPerDevice: number;
}

/** What {@link measureEnforcement} gives. */
export interface EnforcementFigures {
  readonly devices: number;
  readonly rounds: number;
  /** The rule is from `*`: its list of sources is short. */
  readonly fromAll: CutTimes;
  /** The rule is from `autogroup:member`: each device is sent the addresses of all. */
  readonly fromMembers: CutTimes;
  /** With the right every device loses all others: nobody is told of anybody any more. One round. */
  readonly nobodyKnown: CutTimes;
}

/** One device with its filter. */
class Device {
  readonly member: LightMember;
  readonly #filter = new PacketFilter({ limits: FILTER_LIMITS_LARGE, drops: new DropCounters() });
  readonly #packet = new Packet();
  #addresses: readonly string[] = [];
  #asked: Uint8Array = new Uint8Array(0);
  /** When its filter had turned, had it not waited for others; 0: it has not. */
  turnedMs = 0;
  bytes = 0;
  #startMs = 0;

  constructor(given: Coordinated) {
    this.member = new LightMember(given);
    this.member.onMessage = text => this.#handle(text);
    this.member.onClose = () => {
      throw new Error('the coordinator has closed a stream');
    };
  }

  get address(): string {
    return this.#addresses[0]!.replace(/\/.*/, '');
  }

  /** Whether a packet of the neighbour is let in now. */
  get isOpen(): boolean {
    const buf = this.#asked;
    classify(buf, 0, buf.length, this.#packet);
    return this.#filter.handleInbound(performance.now(), this.#packet, buf, 0, buf.length) === 0;
  }

  askedBy(source: string): void {
    this.#asked = buildPacket({ id: 1, source, destination: this.address, protocol: TCP, port: PORT });
  }

  /** Lets bytes wait from now on. */
  hold(): void {
    this.member.isHeld = true;
    this.turnedMs = 0;
    this.bytes = 0;
  }

  /** Handles the bytes that wait, and lets no more wait once the filter has turned. */
  handle(): void {
    this.#startMs = performance.now();
    this.member.handleHeld();
    if (this.turnedMs > 0) this.member.isHeld = false;
  }

  #handle(text: string): void {
    this.bytes += text.length;
    if (!this.member.isHeld || this.turnedMs > 0) return this.#apply(text);
    const before = this.isOpen;
    this.#apply(text);
    if (this.isOpen !== before) this.turnedMs = this.member.receivedMs + (performance.now() - this.#startMs);
  }

  #apply(text: string): void {
    const message = JSON.parse(text) as {
      Node?: { Addresses: string[] };
      PacketFilter?: WireFilterRule[] | null;
      PacketFilters?: Record<string, WireFilterRule[] | null> | null;
    };
    if (message.Node !== undefined) this.#addresses = message.Node.Addresses;
    const rules = message.PacketFilters?.base ?? message.PacketFilter;
    if (rules === undefined || rules === null) return;
    const own = this.#addresses.map(address => parsePrefix(address)!);
    this.#filter.setRules(rules, own);
  }
}

interface Running {
  readonly child: ChildProcess;
  readonly admin: AdminClient;
  readonly given: Coordinated;
}

/** Measures with so many devices; each figure is over so many rounds. */
export async function measureEnforcement(devices: number, rounds: number): Promise<EnforcementFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'motenet-bench-'));
  const server = await startServer(folder);
  try {
    const list = await joinAll(server, devices);
    const run = (first: string, second: string) => measure(server, list, rounds, first, second);
    const fromAll = await run(policy(['*', PORT], ['*', 443]), policy(['*', 443]));
    const member = 'autogroup:member';
    const fromMembers = await run(policy([member, PORT], [member, 443]), policy([member, 443]));
    const nobodyKnown = await measure(server, list, 1, policy(['*', PORT]), policy());
    for (const { member: each } of list) each.close();
    return { devices, rounds, fromAll, fromMembers, nobodyKnown };
  } finally {
    const ended = once(server.child, 'exit');
    server.child.kill('SIGKILL');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

function policy(...rules: readonly (readonly [string, number])[]): string {
  const acls = rules.map(([src, port]) => ({ action: 'accept', src: [src], dst: [`*:${port}`] }));
  return JSON.stringify({ acls });
}

async function startServer(folder: string): Promise<Running> {
  const dataDir = join(folder, 'data');
  const flags = ['--listen', '127.0.0.1:0', '--relay-port', '0', '--stun-port', 'off', '--log', 'error', '--json'];
  const command = ['--import', import.meta.resolve('tsx'), MAIN, 'serve', '--data', dataDir, ...flags];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface(child.stdout)) {
    const event = JSON.parse(line) as { event: string; url: string };
    if (event.event !== 'ready') continue;
    child.stdout.resume();
    const { publicKey } = (await (await fetch(`${event.url}/key?v=113`)).json()) as { publicKey: string };
    const suite = selectSuite([createWasmSuite]);
    const given = { url: new URL(event.url), serverKey: parseKeyText('mkey', publicKey)!, suite, random: host.random };
    const admin = await openAdmin({ dataDir }, () => Promise.reject(new Error('the server does not run')));
    return { child, admin, given };
  }
  throw new Error('the server ended before it was ready; its message is above');
}

async function ask<T extends AdminCommand['type']>(
  { admin }: Running,
  command: Extract<AdminCommand, { type: T }>,
): Promise<AdminResults[T]> {
  return (await admin.command(command)) as AdminResults[T];
}

async function joinAll(server: Running, count: number): Promise<readonly Device[]> {
  const { key } = await ask(server, { type: 'key-create', tailnet: TAILNET, isReusable: true });
  // Streams that open while nobody knows anybody begin with little.
  await ask(server, { type: 'policy-set', tailnet: TAILNET, text: policy() });
  const devices: Device[] = [];
  const joiner = async () => {
    while (devices.length < count) {
      const device = new Device(server.given);
      const index = devices.push(device) - 1;
      await device.member.connect();
      await device.member.join(key!, `host-${index}`);
      await device.member.open();
    }
  };
  await Promise.all(Array.from({ length: JOINERS }, joiner));
  devices.forEach((device, i) => device.askedBy(devices[(i + 1) % devices.length]!.address));
  process.stderr.write(`${count} devices are online\n`);
  return devices;
}

/** Gives the right, waits until all have it, and takes it. */
async function measure(
  server: Running,
  devices: readonly Device[],
  rounds: number,
  first: string,
  second: string,
): Promise<CutTimes> {
  const times: number[] = [];
  const commands: number[] = [];
  const cpu: [number[], number[]] = [[], []];
  let bytes = 0;
  for (let round = 0; round < rounds; round++) {
    await change(server, devices, first);
    if (!devices.every(device => device.isOpen)) throw new Error('a device has not been given the right');
    await settle(server, devices);
    const [serverBefore, ownBefore] = [cpuMs(server.child.pid!), process.cpuUsage()];
    const startMs = performance.now();
    commands.push(await change(server, devices, second));
    if (devices.some(device => device.isOpen)) throw new Error('a device still has the right');
    for (const { turnedMs } of devices) times.push(turnedMs - startMs);
    await settle(server, devices);
    const { user, system } = process.cpuUsage(ownBefore);
    cpu[0].push(cpuMs(server.child.pid!) - serverBefore);
    cpu[1].push((user + system) / 1000);
    for (const device of devices) bytes += device.bytes;
  }
  return {
    p50Ms: quantile(times, 0.5),
    p99Ms: quantile(times, 0.99),
    maxMs: quantile(times, 1),
    commandMs: quantile(commands, 0.5),
    serverCpuMs: quantile(cpu[0], 0.5),
    devicesCpuMs: quantile(cpu[1], 0.5),
    bytesPerDevice: Math.round(bytes / (rounds * devices.length)),
  };
}

/** Sets a policy and turns every device; returns the command's time. */
async function change(server: Running, devices: readonly Device[], text: string): Promise<number> {
  for (const device of devices) device.hold();
  const startMs = performance.now();
  let commandMs = 0;
  const answered = ask(server, { type: 'policy-set', tailnet: TAILNET, text }).then(() => {
    commandMs = performance.now() - startMs;
  });
  let left = [...devices];
  while (left.length > 0) {
    if (performance.now() - startMs > LATE_MS)
      throw new Error(`${left.length} devices were not told within ${LATE_MS / 1000} s`);
    await pause(POLL_MS);
    // Handled while others still wait for theirs, they would take the processor from those who send.
    const isLastRecent = left.some(({ member: { heldMs } }) => heldMs === 0 || performance.now() - heldMs < GATHER_MS);
    if (isLastRecent && performance.now() - startMs < PATIENCE_MS) continue;
    for (const device of left) device.handle();
    left = left.filter(({ turnedMs }) => turnedMs === 0);
  }
  await answered;
  return commandMs;
}

/** Waits until nobody is told anything any more, and the server has nothing left to do. */
async function settle({ child }: Running, devices: readonly Device[]): Promise<void> {
  const total = () => devices.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const startMs = performance.now(); performance.now() - startMs < LATE_MS; ) {
    const [bytes, cpu] = [total(), cpuMs(child.pid!)];
    await pause(devices.length > FEW_DEVICES ? QUIET_MS : SHORT_QUIET_MS);
    if (bytes === total() && cpuMs(child.pid!) - cpu < IDLE_CPU_MS) return;
  }
  throw new Error(`the server is still at work after ${LATE_MS / 1000} s`);
}

/** Processor time of all threads of a process so far. */
function cpuMs(pid: number): number {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`))
    ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  return ns / 1e6;
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** The value that this part of the sorted values is below. */
function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!);
}
