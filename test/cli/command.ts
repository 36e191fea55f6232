/** The `motenet` command as a process of its own, bundled once per test file, so that it starts in a tenth of the time. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { host } from '../../targets/node/index.ts';
import { genkey, pubkey } from '../../targets/cli/keys.ts';
import { until } from './local.ts';

const MAIN = fileURLToPath(new URL('../../targets/cli/main.ts', import.meta.url));
/** How long a test waits for a line of a process. */
const TIMEOUT_MS = 30_000;
/** No process outlives this: longer than the slowest file of tests on a busy machine, shorter than its limit. */
const LIFETIME_MS = 170_000;

const bundles = mkdtempSync(join(tmpdir(), 'motenet-cli-'));
process.on('exit', () => rmSync(bundles, { recursive: true, force: true }));

/** Path of the bundled command. */
export const COMMAND = join(bundles, 'cli.mjs');
buildSync({ entryPoints: [MAIN], outfile: COMMAND, bundle: true, platform: 'node', format: 'esm', target: 'node20' });

/** How a process ended. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running command. */
export class Command {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly ended: Promise<Outcome>;
  isEnded = false;

  constructor(args: readonly string[], input?: string) {
    this.child = spawn(process.execPath, [COMMAND, ...args], { timeout: LIFETIME_MS });
    this.child.stdout!.setEncoding('utf8').on('data', text => {
      this.stdout += text;
    });
    this.child.stderr!.setEncoding('utf8').on('data', text => {
      this.stderr += text;
    });
    this.child.stdin!.on('error', () => undefined);
    if (input !== undefined) this.child.stdin!.end(input);
    this.ended = new Promise(resolve => {
      this.child.once('close', code => {
        this.isEnded = true;
        resolve({ code, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** Waits for a whole line on standard output that matches. */
  async line(pattern: RegExp): Promise<string> {
    const found = () =>
      this.stdout
        .split('\n')
        .slice(0, -1)
        .find(line => pattern.test(line));
    await until(() => found() !== undefined || this.isEnded, `a line like ${pattern}`, TIMEOUT_MS);
    const line = found();
    if (line === undefined) throw new Error(`ended without a line like ${pattern}:\n${this.stdout}${this.stderr}`);
    return line;
  }

  /** The JSON lines so far. */
  events(): ({ readonly event: string } & Record<string, unknown>)[] {
    const lines = this.stdout.split('\n').slice(0, -1);
    return lines.map(line => JSON.parse(line));
  }

  /** Sends a signal and waits for the end. */
  stop(signal: NodeJS.Signals = 'SIGINT'): Promise<Outcome> {
    this.child.kill(signal);
    return this.ended;
  }
}

/** Runs a command to its end. Standard input is empty unless given. */
export function run(args: readonly string[], input = ''): Promise<Outcome> {
  return new Command(args, input).ended;
}

/** A folder for a test's files. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'motenet-'));

  /** Writes a file; its path. */
  write(name: string, text: string, mode = 0o600): string {
    const path = join(this.path, name);
    writeFileSync(path, text, { mode });
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** A new pair of keys in base64. */
export function keyPair(): { readonly privateKey: string; readonly publicKey: string } {
  const privateKey = genkey(host.random);
  return { privateKey, publicKey: pubkey(privateKey, createNobleSuite()) };
}

/** A wg-quick file. */
export function configText(
  own: { privateKey: string; address: string; port?: number; more?: string },
  peer: { publicKey: string; allowedIPs: string; port?: number },
): string {
  return [
    '[Interface]',
    `PrivateKey = ${own.privateKey}`,
    `Address = ${own.address}`,
    ...(own.port === undefined ? [] : [`ListenPort = ${own.port}`]),
    ...(own.more === undefined ? [] : [own.more]),
    '[Peer]',
    `PublicKey = ${peer.publicKey}`,
    `AllowedIPs = ${peer.allowedIPs}`,
    ...(peer.port === undefined ? [] : [`Endpoint = 127.0.0.1:${peer.port}`]),
    '',
  ].join('\n');
}
