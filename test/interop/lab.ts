/**
 * A laboratory for interop cases: network namespaces, veth pairs, processes and files of one case, and their removal.
 *
 * Everything gets a random name, because wireguard-go's control sockets are shared between namespaces and several runs
 * may share a machine. Whatever a lab made it removes in `dispose()`; `disposeAllSync()` does the same from an exit or
 * signal handler. A child also dies with its parent (`setpriv --pdeathsig`), so even SIGKILL leaves no process behind,
 * and `sweep()` removes the empty namespaces of runs that ended that way.
 * Needs root. Left out: any host network; traffic never leaves the namespaces made here.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Bytes of a program's output that are kept: the last so many. */
const OUTPUT_LIMIT = 1 << 20;
const PREFIX = 'mi';

/** What a finished program left. */
export interface Finished {
  /** Exit code; `undefined` when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs in a lab. */
export class Program {
  readonly child: ChildProcess;
  readonly name: string;
  /** Settles when the program has ended and its output is complete; never rejects. */
  readonly ended: Promise<Finished>;
  stdout = '';
  stderr = '';
  isRunning = true;

  constructor(
    name: string,
    command: readonly string[],
    o: { env: Record<string, string> | undefined; input: string | undefined; isDetached: boolean },
  ) {
    const { env, input } = o;
    this.name = name;
    this.child = spawn(command[0]!, command.slice(1), {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      // Its own process group: a Ctrl-C at the terminal reaches the runner only, which then cleans up in order.
      detached: o.isDetached,
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout = (this.stdout + text).slice(-OUTPUT_LIMIT);
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-OUTPUT_LIMIT);
    });
    this.child.stdin!.on('error', () => {});
    if (input !== undefined) this.child.stdin!.end(input);
    this.ended = new Promise(resolve => {
      const finish = (code: number | null, signal: string | null) => {
        if (!this.isRunning) return;
        this.isRunning = false;
        resolve({ code: code ?? undefined, signal: signal ?? undefined, stdout: this.stdout, stderr: this.stderr });
      };
      this.child.once('error', error => {
        this.stderr += `\n${error.message}`;
        finish(127, null);
      });
      this.child.once('close', finish);
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Sends a signal to this program only. */
  signal(name: NodeJS.Signals): void {
    if (this.isRunning) this.child.kill(name);
  }

  /** SIGTERM, and SIGKILL after `graceMs`; settles when the program is gone. */
  async stop(graceMs = 1500): Promise<Finished> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    const finished = await this.ended;
    clearTimeout(timer);
    return finished;
  }

  /** The last lines of what it printed, answers to the harness left out, for a failure report. */
  tail(lines = 12): string {
    const all = `${this.stdout.trimEnd()}\n${this.stderr.trimEnd()}`.trim().split('\n');
    return all
      .filter(line => !line.startsWith('{"id":'))
      .slice(-lines)
      .join('\n');
  }
}

/** A network namespace. */
export class Namespace {
  readonly name: string;
  readonly lab: Lab;

  constructor(lab: Lab, name: string) {
    this.lab = lab;
    this.name = name;
  }

  /** Runs `ip -n THIS …` and fails the case when it fails. */
  async ip(...args: string[]): Promise<void> {
    await this.lab.run(undefined, ['ip', '-n', this.name, ...args]);
  }

  /** Adds an address with its prefix length; IPv6 without duplicate detection, which would hold it back for a second. */
  async addAddress(device: string, address: string): Promise<void> {
    await this.ip('addr', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []));
  }

  async removeAddress(device: string, address: string): Promise<void> {
    await this.ip('addr', 'del', address, 'dev', device);
  }

  /** One counter of the kernel's UDP (IPv4 and IPv6 together), such as `RcvbufErrors` or `InDatagrams`. */
  async udpCounter(name: string): Promise<number> {
    const { stdout } = await this.lab.run(this, ['cat', '/proc/net/snmp', '/proc/net/snmp6']);
    const lines = stdout.split('\n').filter(line => line.startsWith('Udp: '));
    const column = lines[0]?.split(' ').indexOf(name) ?? -1;
    const v6 = new RegExp(`^Udp6${name}\\s+(\\d+)`, 'm').exec(stdout);
    return Number(lines[1]?.split(' ')[column] ?? 0) + Number(v6?.[1] ?? 0);
  }
}

/** Both ends of a virtual cable. */
export interface Cable {
  readonly left: string;
  readonly right: string;
}

const openLabs = new Set<Lab>();

/** Everything that one case made. */
export class Lab {
  readonly #namespaces: Namespace[] = [];
  readonly #programs: Program[] = [];
  readonly #files: string[] = [];
  readonly #isOneSession: boolean;
  #isDisposed = false;

  /**
   * `isOneSession` starts programs in the session of this process. Linux shares the processor between sessions first
   * (autogroup), so on a busy machine that is what makes contenders with few and with many processes equal.
   */
  constructor(o: { isOneSession?: boolean } = {}) {
    this.#isOneSession = o.isOneSession === true;
    openLabs.add(this);
  }

  /** A name of at most 15 characters that nobody else uses: the runner's pid and a random part are in it. */
  uniqueName(label: string): string {
    return `${PREFIX}-${process.pid.toString(36)}-${label}${randomBytes(3).toString('hex')}`.slice(0, 15);
  }

  /** Makes a namespace with its loopback up. */
  async namespace(label: string): Promise<Namespace> {
    const made = new Namespace(
      this,
      `${PREFIX}-${process.pid.toString(36)}-${label}-${randomBytes(3).toString('hex')}`,
    );
    this.#namespaces.push(made);
    await this.run(undefined, ['ip', 'netns', 'add', made.name]);
    await made.ip('link', 'set', 'lo', 'up');
    return made;
  }

  /** Lays a cable between two namespaces and gives each end its addresses (with prefix length). */
  async cable(
    left: Namespace,
    right: Namespace,
    addresses: { left: readonly string[]; right: readonly string[] },
  ): Promise<Cable> {
    const made = { left: this.uniqueName('v'), right: this.uniqueName('w') };
    const peer = ['type', 'veth', 'peer', 'name', made.right, 'netns', right.name];
    await this.run(undefined, ['ip', 'link', 'add', made.left, 'netns', left.name, ...peer]);
    for (const [space, device, list] of [
      [left, made.left, addresses.left],
      [right, made.right, addresses.right],
    ] as const) {
      for (const address of list) await space.addAddress(device, address);
      await space.ip('link', 'set', device, 'up');
    }
    return made;
  }

  /** Starts a program in a namespace (or outside any) and leaves it running until the lab ends. */
  start(
    space: Namespace | undefined,
    command: readonly string[],
    o: { env?: Record<string, string>; input?: string; name?: string } = {},
  ): Program {
    if (this.#isDisposed) throw new Error('the case has ended');
    const inside = space === undefined ? [] : ['ip', 'netns', 'exec', space.name];
    const whole = [...inside, 'setpriv', '--pdeathsig', 'KILL', '--', ...command];
    const { env, input } = o;
    const program = new Program(o.name ?? command[0]!, whole, { env, input, isDetached: !this.#isOneSession });
    this.#programs.push(program);
    return program;
  }

  /** Runs a program to its end. Throws when it fails, unless `mayFail`; kills it after `timeoutMs` (20 s). */
  async run(
    space: Namespace | undefined,
    command: readonly string[],
    o: { env?: Record<string, string>; input?: string; timeoutMs?: number; mayFail?: boolean } = {},
  ): Promise<Finished> {
    const program = this.start(space, command, { ...o, input: o.input ?? '' });
    const timer = setTimeout(() => program.signal('SIGKILL'), o.timeoutMs ?? 20_000);
    const finished = await program.ended;
    clearTimeout(timer);
    this.#programs.splice(this.#programs.indexOf(program), 1);
    if (finished.code !== 0 && o.mayFail !== true) {
      const how = finished.code === undefined ? `was ended by ${finished.signal}` : `exited with ${finished.code}`;
      throw new Error(`\`${command.join(' ').slice(0, 160)}\` ${how}: ${program.tail()}`);
    }
    return finished;
  }

  /** A new empty directory that goes with the lab. */
  directory(): string {
    const path = mkdtempSync(join(tmpdir(), `${PREFIX}-${process.pid.toString(36)}-`));
    this.#files.push(path);
    return path;
  }

  /** Has a file removed with the lab, should it still exist then. */
  removeLater(path: string): void {
    this.#files.push(path);
  }

  /** What each program still running printed last; for the report of a failed case. */
  tails(): string {
    return this.#programs
      .filter(program => program.tail() !== '')
      .map(program => `--- ${program.name} (pid ${program.pid})\n${program.tail()}`)
      .join('\n');
  }

  /** Ends the programs, then removes namespaces and files. Safe to call twice. */
  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    await Promise.all(this.#programs.map(program => program.stop()));
    for (const { name } of this.#namespaces)
      await new Promise<void>(resolve => execFile('ip', ['netns', 'del', name], () => resolve()));
    this.#removeFiles();
    openLabs.delete(this);
  }

  /** The same without waiting, for exit and signal handlers. */
  disposeSync(): void {
    this.#isDisposed = true;
    for (const program of this.#programs) program.signal('SIGKILL');
    // A program that is just making a namespace may finish doing so before it dies.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    for (const { name } of this.#namespaces) spawnSync('ip', ['netns', 'del', name]);
    this.#removeFiles();
    openLabs.delete(this);
  }

  #removeFiles(): void {
    for (const path of this.#files) rmSync(path, { recursive: true, force: true });
  }
}

/** Ends every lab that is still open, at once. */
export function disposeAllSync(): void {
  for (const lab of [...openLabs]) lab.disposeSync();
}

/** Removes namespaces, directories and control sockets of runs whose process is gone; returns how many. */
export function sweep(): number {
  const isDead = (name: string) => {
    const owner = new RegExp(`^${PREFIX}-([0-9a-z]+)-`).exec(name);
    if (owner === null) return false;
    try {
      readFileSync(`/proc/${Number.parseInt(owner[1]!, 36)}/stat`);
      return false;
    } catch {
      return true;
    }
  };
  let removed = 0;
  const listed = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? '';
  for (const line of listed.split('\n')) {
    const name = line.split(' ')[0]!;
    if (isDead(name) && spawnSync('ip', ['netns', 'del', name]).status === 0) removed++;
  }
  for (const folder of [tmpdir(), '/var/run/wireguard', '/etc/netns'])
    for (const name of existsSync(folder) ? readdirSync(folder) : [])
      if (isDead(name)) {
        rmSync(join(folder, name), { recursive: true, force: true });
        removed++;
      }
  return removed;
}

/** Settles after `ms`. */
export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}

/** Calls `probe` every `everyMs` until it gives something; throws with `what` after `timeoutMs`. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  everyMs = 100,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
    await sleep(everyMs);
  }
}
