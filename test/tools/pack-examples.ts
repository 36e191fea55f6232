/**
 * Examples against each other: `motenet serve` out of an installed package, a key for each, and each example fetches from
 * the one before it by name, the first from the last. Everything is a process of its own, as users start it.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** An example: what it is called in the network, and how it is run in the folder. */
export interface Ring {
  readonly name: string;
  readonly program: string | undefined;
  readonly args: readonly string[];
}

const TIMEOUT_MS = 60_000;

const started: Running[] = [];

/** A process, and what it has said. */
class Running {
  readonly child: ChildProcess;
  output = '';

  constructor(cwd: string, program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(program, args, { cwd, env: { ...process.env, NO_COLOR: '1', ...env }, timeout: TIMEOUT_MS });
    started.push(this);
    for (const stream of [this.child.stdout!, this.child.stderr!])
      stream.setEncoding('utf8').on('data', text => {
        this.output += text;
      });
  }

  /** Waits until the output matches. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (const endMs = performance.now() + TIMEOUT_MS; performance.now() < endMs; ) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (this.child.exitCode !== null) break;
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    throw new Error(`nothing like ${pattern} in:\n${this.output}`);
  }

  /** SIGINT; a clean end is exit code 0. */
  async stop(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGINT');
    const [code] = await ended;
    if (code !== 0) throw new Error(`ended with ${code}:\n${this.output}`);
  }
}

/** Ends what a failure left running. */
export function endAll(): void {
  for (const { child } of started) child.kill('SIGKILL');
}

async function makeKey(motenet: string, cwd: string, at: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(motenet, ['keys', 'create', ...at, '--json'], { cwd });
  return (JSON.parse(stdout) as { key: string }).key;
}

/** Runs the examples in a folder where both packages are installed; returns what they said of each other. */
export async function runRing(app: string, ring: readonly Ring[]): Promise<string> {
  const motenet = join(app, 'node_modules/.bin/motenet');
  const at = ['--data', 'examples-data'];
  const free = ['--listen', '127.0.0.1:0', '--relay-port', '0', '--stun-port', '0'];
  const server = new Running(app, motenet, ['serve', ...at, ...free]);
  const [, control] = await server.says(/^ready: (http:\/\/[^\s,]+)/m);
  const keys = new Map<string, string>();
  const join_ = async ({ name, program, args }: Ring, more: Readonly<Record<string, string>>) => {
    const key = keys.get(name) ?? (await makeKey(motenet, app, at));
    keys.set(name, key);
    const running = new Running(app, program!, args, { CONTROL: control!, AUTHKEY: key, ...more });
    await running.says(/^serving http:\/\/\S+\.default\.mote\.internal\/$/m);
    if (running.output.includes(key)) throw new Error(`${name} prints its key`);
    return running;
  };
  const heard: string[] = [];
  const motes: Running[] = [];
  const ask = async (asker: Running, name: string, peer: string) => {
    const [, answer] = await asker.says(
      new RegExp(`^${peer}: hello ${name}\\.default\\.mote\\.internal, this is (.+)$`, 'm'),
    );
    heard.push(`${name} heard ${answer}`);
  };
  for (const [i, one] of ring.entries()) {
    const peer = ring[i - 1]?.name;
    const mote = await join_(one, peer === undefined ? {} : { PEER: peer });
    motes.push(mote);
    if (peer !== undefined) await ask(mote, one.name, peer);
  }
  // The first, stopped and started again, is the same device, with its spent key; it closes the ring.
  const [first, last] = [ring[0]!, ring.at(-1)!];
  await motes[0]!.stop();
  motes[0] = await join_(first, { PEER: last.name });
  await ask(motes[0], first.name, last.name);
  const { stdout } = await promisify(execFile)(motenet, ['devices', 'list', ...at, '--json'], { cwd: app });
  const names = (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name).sort();
  if (
    names.join() !==
    ring
      .map(({ name }) => name)
      .sort()
      .join()
  )
    throw new Error(`devices: ${names}`);
  for (const mote of motes) await mote.stop();
  await server.stop();
  return heard.join(', ');
}
