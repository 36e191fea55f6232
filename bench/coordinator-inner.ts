/**
 * One size of the coordinator bench: `coordinator-inner.ts NODES [--short]`; prints JSON. The coordinator alone, without
 * sockets and without a disk: requests go in as the bytes of their bodies, commits are confirmed at once, and the bytes
 * of the map streams are taken and thrown away. Clocks are virtual, so that the pause between two messages costs nothing.
 */
import { parseArgs } from 'node:util';
import { webcrypto } from 'node:crypto';
import type { AdminCommand, KeyView } from '../lib/coordinator/commands.ts';
import { Coordinator } from '../lib/coordinator/coordinator.ts';
import type { CoordinatorEvent } from '../lib/coordinator/coordinator-types.ts';
import { formatKey } from '../lib/crypto/key-text.ts';
import { selectSuite } from '../lib/crypto/select.ts';
import { createWasmSuite } from '../lib/crypto/wasm.ts';

/** Devices that stream their map while the others only join and say where they are. */
const FIXED_VIEWERS = 20;
/** Between two updates, longer than a quiet time: every update is a message of its own. */
const PAUSE_MS = 150;
/** Updates that are measured together for their processor time. */
const GROUP = 50;
const WARM_DEVICES = 1000;
const UNIX_MS = 1_790_000_000_000;
const SLAB_BYTES = 65_536;

/** What updates cost with so many viewers. */
export interface UpdateFigures {
  /** Devices that are told of each update. */
  readonly viewers: number;
  /** From the request until all viewers have their bytes. */
  readonly updateP50Ms: number;
  readonly updateP99Ms: number;
  /** To all viewers together. */
  readonly bytesPerUpdate: number;
  readonly cpuPerUpdateUs: number;
  readonly rssMB: number;
}

/** What one run prints. */
export interface SizeFigures extends UpdateFigures {
  readonly nodes: number;
  /** Devices per second that register, and say their endpoints and home relay, with the fixed viewers told of each. */
  readonly joinPerSec: number;
  /** With every device as a viewer; `openMs`: one whole map of so many bytes. */
  readonly mesh: UpdateFigures & { readonly openMs: number; readonly mapBytes: number };
}

interface Machine {
  readonly key: Uint8Array;
  readonly nodeKey: string;
  readonly discoKey: string;
}

const random = (out: Uint8Array) => void webcrypto.getRandomValues(out);

/** The coordinator, its store and its wires. */
class Bench {
  nowMs = 1000;
  /** Number of the update, from which its endpoints follow. */
  turn = 0;
  readonly machines: Machine[] = [];
  readonly #coordinator: Coordinator;
  readonly #slab = new Uint8Array(SLAB_BYTES);
  readonly #last = new Map<number, CoordinatorEvent>();

  constructor() {
    const region = { RegionID: 900, RegionCode: 'here', RegionName: 'Here', Nodes: [] };
    this.#coordinator = new Coordinator({
      nowMs: this.nowMs,
      unixMs: UNIX_MS,
      random,
      suite: selectSuite([createWasmSuite]),
      settings: { url: 'https://control.example/', derpMap: { Regions: { 900: region } } },
    });
    this.settle();
  }

  get unixMs(): number {
    return UNIX_MS + this.nowMs;
  }

  /** Confirms commits, takes events and the bytes of all streams; returns how many bytes there were. */
  settle(): number {
    const coordinator = this.#coordinator;
    let bytes = 0;
    for (let commit = coordinator.pollCommit(); commit !== undefined; commit = coordinator.pollCommit())
      coordinator.handleCommitted(this.nowMs, commit.id);
    for (let id = coordinator.pollMap(); id !== undefined; id = coordinator.pollMap()) {
      let length = 0;
      do {
        length = coordinator.pollMapBytes(this.nowMs, this.unixMs, id, this.#slab, 0, SLAB_BYTES);
        bytes += length;
      } while (length > 0);
    }
    for (let event = coordinator.pollEvent(); event !== undefined; event = coordinator.pollEvent()) {
      if (event.type === 'end') throw new Error(`a stream has ended: ${JSON.stringify(event)}`);
      if (event.type === 'reply' || event.type === 'outcome') this.#last.set(event.request, event);
    }
    return bytes;
  }

  pass(ms: number): void {
    this.nowMs += ms;
    if (this.#coordinator.nextTimeout() > this.nowMs) return;
    this.#coordinator.handleTimeout(this.nowMs, this.unixMs);
    this.settle();
  }

  key(): string {
    const command: AdminCommand = { type: 'key-create', tailnet: 'default', isReusable: true, lifeMs: 86_400_000 };
    const actor = { name: 'admin', tailnet: undefined };
    const request = this.#coordinator.command(this.nowMs, this.unixMs, actor, command);
    this.settle();
    const event = this.#take(request);
    if (event?.type !== 'outcome' || !event.outcome.isOk) throw new Error('no auth key');
    return (event.outcome.value as KeyView).key!;
  }

  join(authKey: string): void {
    const [key, node, disco] = Array.from({ length: 3 }, () => {
      const bytes = new Uint8Array(32);
      random(bytes);
      return bytes;
    });
    const machine = { key: key!, nodeKey: formatKey('nodekey', node!), discoKey: formatKey('discokey', disco!) };
    const index = this.machines.push(machine) - 1;
    const Hostinfo = { Hostname: `host-${index}`, OS: 'linux', IPNVersion: '1.90.0' };
    this.#post('register', machine, { Auth: { AuthKey: authKey }, Hostinfo });
    this.update(index, { ...Hostinfo, NetInfo: { PreferredDERP: 900 } });
  }

  /** A device says where it is; returns the bytes that viewers were told. */
  update(index: number, Hostinfo?: object): number {
    const port = 1024 + (this.turn++ % 60_000);
    const Endpoints = [`192.0.2.${index % 250}:${port}`, `198.51.100.${index % 250}:${port}`, `10.0.0.1:${port}`];
    const machine = this.machines[index]!;
    return this.#post('map', machine, { OmitPeers: true, DiscoKey: machine.discoKey, Endpoints, Hostinfo });
  }

  open(index: number): number {
    const machine = this.machines[index]!;
    const body = { Stream: true, KeepAlive: true, Compress: 'zstd', DiscoKey: machine.discoKey };
    return this.#post('map', machine, body);
  }

  #post(kind: 'register' | 'map', machine: Machine, fields: object): number {
    const body = Buffer.from(JSON.stringify({ Version: 113, NodeKey: machine.nodeKey, ...fields }));
    const request = { machineKey: machine.key, source: '192.0.2.1', version: 113, body };
    const id = this.#coordinator[kind](this.nowMs, this.unixMs, request);
    const bytes = this.settle();
    const event = this.#take(id);
    const isRefused = event?.type === 'reply' && event.status !== 200;
    if (isRefused) throw new Error(`${kind}: ${event.status} ${Buffer.from(event.body).toString()}`);
    return bytes;
  }

  #take(request: number): CoordinatorEvent | undefined {
    const event = this.#last.get(request);
    this.#last.delete(request);
    return event;
  }
}

/** The value that this part of the sorted values is below. */
function quantile(values: readonly number[], part: number): number {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Endpoint changes of devices in turn, in groups; keepalives and other clockwork are served between the groups. */
function measureUpdates(bench: Bench, viewers: number, groups: number, warmUp: number): UpdateFigures {
  const [times, cpu]: [number[], number[]] = [[], []];
  let bytes = 0;
  for (let group = -warmUp; group < groups; group++) {
    bench.pass(PAUSE_MS);
    const started = process.cpuUsage();
    for (let i = 0; i < GROUP; i++) {
      bench.nowMs += PAUSE_MS;
      const before = performance.now();
      const told = bench.update((bench.turn * 7919) % bench.machines.length);
      if (group < 0) continue; // warming up
      times.push(performance.now() - before);
      bytes += told;
    }
    const { user, system } = process.cpuUsage(started);
    if (group >= 0) cpu.push((user + system) / GROUP);
  }
  globalThis.gc?.();
  return {
    viewers,
    updateP50Ms: round(quantile(times, 0.5), 3),
    updateP99Ms: round(quantile(times, 0.99), 3),
    bytesPerUpdate: Math.round(bytes / times.length),
    cpuPerUpdateUs: round(quantile(cpu, 0.5), 1),
    rssMB: Math.round(process.memoryUsage.rss() / 1e6),
  };
}

/** Another coordinator, so that the code is compiled before anything is measured. */
function warmUp(): void {
  const bench = new Bench();
  const authKey = bench.key();
  for (let i = 0; i < WARM_DEVICES; i++) {
    bench.join(authKey);
    if (i < FIXED_VIEWERS) bench.open(i);
    bench.pass(PAUSE_MS);
  }
}

function measure(nodes: number, isShort: boolean): SizeFigures {
  warmUp();
  const bench = new Bench();
  const authKey = bench.key();
  for (let i = 0; i < FIXED_VIEWERS; i++) bench.join(authKey);
  for (let i = 0; i < FIXED_VIEWERS; i++) bench.open(i);
  const joinStart = performance.now();
  for (let i = FIXED_VIEWERS; i < nodes; i++) {
    bench.join(authKey);
    bench.pass(PAUSE_MS);
  }
  const joinPerSec = Math.round((nodes - FIXED_VIEWERS) / ((performance.now() - joinStart) / 1000));
  const fixed = measureUpdates(bench, FIXED_VIEWERS, isShort ? 40 : 100, 60);
  let mapBytes = 0;
  const openStart = performance.now();
  for (let i = FIXED_VIEWERS; i < nodes; i++) mapBytes = bench.open(i);
  const openMs = (performance.now() - openStart) / (nodes - FIXED_VIEWERS);
  bench.pass(PAUSE_MS);
  const groups = Math.max(2, Math.min(40, Math.floor((isShort ? 4000 : 20_000) / nodes)));
  const mesh = { openMs: round(openMs, 2), mapBytes, ...measureUpdates(bench, nodes, groups, Math.ceil(groups / 4)) };
  return { nodes, joinPerSec, ...fixed, mesh };
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { short: { type: 'boolean' } } });
console.log(JSON.stringify(measure(Number(positionals[0]), values.short === true)));
