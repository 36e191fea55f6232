/**
 * The stock programs that interop runs against: where they are, and what to do when one is missing.
 *
 * The newest wireguard-go has no package; it is built once by the Go toolchain into a cache folder outside the tree
 * (`$MOTENET_CACHE`, else `~/.cache/motenet`). Debian's older package serves as the second version.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** The revision of wireguard-go that is built: its main branch of 22 May 2026. */
const WIREGUARD_GO = 'golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446';

/** What to run to install each program that a case may need. */
const HINTS: Readonly<Record<string, string>> = Object.freeze({
  curl: 'apt-get install curl',
  ip: 'apt-get install iproute2',
  iperf3: 'apt-get install iperf3',
  ping: 'apt-get install iputils-ping',
  python3: 'apt-get install python3',
  setpriv: 'apt-get install util-linux',
  ss: 'apt-get install iproute2',
  'wireguard-go': 'apt-get install golang-go (then it is built by itself), or apt-get install wireguard-go',
  'wireguard-go (Debian)': 'apt-get install wireguard-go',
  wg: 'apt-get install wireguard-tools',
});

/** Full path of a program in PATH, or undefined. */
export function findProgram(name: string): string | undefined {
  // A Python wrapped by a version manager starts slowly and under another pid; the system's own is preferred.
  const folders = ['/usr/bin', ...(process.env.PATH ?? '').split(delimiter)];
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}

/** `X is not installed, run Y` for the first missing program, or undefined when all are there. */
export function whatIsMissing(names: readonly string[]): string | undefined {
  for (const name of names) {
    const isThere =
      name === 'wireguard-go'
        ? newestWireguardGo() !== undefined
        : name === 'wireguard-go (Debian)'
          ? findProgram('wireguard-go') !== undefined
          : findProgram(name) !== undefined;
    if (!isThere) return `${name} is not installed, run ${HINTS[name] ?? `apt-get install ${name}`}`;
  }
  return undefined;
}

let found: { path: string | undefined } | undefined;

/** Path of the newest wireguard-go: built into the cache, or building now (a minute), else Debian's; else undefined. */
export function newestWireguardGo(): string | undefined {
  found ??= { path: findOrBuild() };
  return found.path;
}

function findOrBuild(): string | undefined {
  const cache = process.env.MOTENET_CACHE ?? join(homedir(), '.cache', 'motenet');
  const folder = join(cache, 'bin');
  const path = join(folder, 'wireguard');
  if (existsSync(path)) return path;
  const go = findProgram('go');
  if (go !== undefined) {
    mkdirSync(folder, { recursive: true });
    process.stderr.write(`building ${WIREGUARD_GO} into ${folder}\n`);
    const env = { ...process.env, GOBIN: folder };
    const built = spawnSync(go, ['install', WIREGUARD_GO], { env, encoding: 'utf8', timeout: 300_000 });
    if (built.status === 0 && existsSync(path)) return path;
    process.stderr.write(`that failed: ${(built.stderr ?? '').trim().split('\n').slice(-3).join(' ')}\n`);
  }
  return findProgram('wireguard-go');
}

/** Version line of a wireguard-go binary. */
export function wireguardGoVersion(path: string): string {
  const text = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  return /v\d[\w.-]*/.exec(text)?.[0] ?? 'of an unknown version';
}
