/**
 * The stock programs that interop runs against: where they are, and what to do when one is missing.
 *
 * The newest wireguard-go has no package; it is built once by the Go toolchain into a cache folder outside the tree
 * (`$MOTENET_CACHE`, else `~/.cache/motenet`). Debian's older package serves as the second version. The same holds for
 * tailscaled, headscale and derper, which lie side by side by version; `build-stock.ts` builds all of them at once.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** The revision of wireguard-go that is built: its main branch of 22 May 2026. */
const WIREGUARD_GO = 'golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446';

/** The newest release that the Go of this year's Debian builds (1.104 needs Go 1.27). */
export const NEWEST_TAILSCALE = '1.102.5';
/** Two years older: of November 2024. */
export const OLD_TAILSCALE = '1.76.6';
/** The newest headscale that the public module proxy serves. */
export const HEADSCALE = '0.29.2';

/** One build of stock programs. */
interface StockBuild {
  /** Name of the folder in the cache. */
  readonly folder: string;
  readonly module: string;
  readonly version: string;
  /** Folders below `cmd` of the module. */
  readonly commands: readonly string[];
  readonly linkerFlags: string;
}

function tailscaleBuild(version: string): StockBuild {
  // What packagers stamp; without it the programs call themselves "1.102.5-ERR-BuildInfo".
  const stamp = (name: string) => `-X tailscale.com/version.${name}Stamp=${version}`;
  return Object.freeze({
    folder: `tailscale-${version}`,
    module: 'tailscale.com',
    version,
    commands: ['tailscale', 'tailscaled', 'derper'],
    linkerFlags: `-s -w ${stamp('short')} ${stamp('long')}`,
  });
}

/** By the name under which a case needs it. */
const STOCK_BUILDS: Readonly<Record<string, StockBuild>> = Object.freeze({
  tailscaled: tailscaleBuild(NEWEST_TAILSCALE),
  'tailscaled (old)': tailscaleBuild(OLD_TAILSCALE),
  headscale: Object.freeze({
    folder: `headscale-${HEADSCALE}`,
    module: 'github.com/juanfont/headscale',
    version: HEADSCALE,
    commands: ['headscale'],
    linkerFlags: '-s -w',
  }),
});

/** What to run to install each program that a case may need. */
const HINTS: Readonly<Record<string, string>> = Object.freeze({
  curl: 'apt-get install curl',
  ip: 'apt-get install iproute2',
  go: 'apt-get install golang-go',
  headscale: 'apt-get install golang-go (then it is built by itself)',
  iperf3: 'apt-get install iperf3',
  nft: 'apt-get install nftables',
  openssl: 'apt-get install openssl',
  ping: 'apt-get install iputils-ping',
  python3: 'apt-get install python3',
  setpriv: 'apt-get install util-linux',
  ss: 'apt-get install iproute2',
  tailscaled: 'apt-get install golang-go (then it is built by itself)',
  'tailscaled (old)': 'apt-get install golang-go (then it is built by itself)',
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
          : name in STOCK_BUILDS
            ? buildStock(name) !== undefined
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

function binFolder(): string {
  return join(process.env.MOTENET_CACHE ?? join(homedir(), '.cache', 'motenet'), 'bin');
}

/** Names of the builds that {@link buildStock} knows. */
export const STOCK_NAMES: readonly string[] = Object.freeze(Object.keys(STOCK_BUILDS));

/**
 * Folder of a build's programs: in the cache, or building now (minutes when Go's own caches are empty); undefined when
 * there is no Go or it fails.
 */
export function buildStock(name: string): string | undefined {
  const build = STOCK_BUILDS[name];
  if (build === undefined) throw new RangeError(`"name" expected one of ${STOCK_NAMES.join(', ')}, got ${name}`);
  const folder = join(binFolder(), build.folder);
  if (isWhole(folder, build)) return folder;
  const go = findProgram('go');
  if (go === undefined) return undefined;
  process.stderr.write(`building ${build.folder} into ${folder}\n`);
  // Built aside and moved when whole, so that a build that was broken off does not look like a finished one.
  const aside = `${folder}.${process.pid}`;
  mkdirSync(aside, { recursive: true });
  try {
    const env: NodeJS.ProcessEnv = { ...process.env, GOFLAGS: '', GOBIN: aside };
    const run = (...args: readonly string[]) => {
      const { status, stdout, stderr } = spawnSync(go, args, { env, encoding: 'utf8', timeout: 1_200_000 });
      if (status !== 0) throw new Error((stderr ?? '').trim().split('\n').slice(-3).join(' '));
      return stdout;
    };
    run('mod', 'download', `${build.module}@v${build.version}`);
    // `go install` asks for the list of all versions, which not every proxy gives; what is downloaded answers that.
    const [modules, proxies] = run('env', 'GOMODCACHE', 'GOPROXY').trim().split('\n');
    env.GOPROXY = `file://${modules}/cache/download,${proxies}`;
    const packages = build.commands.map(name => `${build.module}/cmd/${name}@v${build.version}`);
    run('install', '-ldflags', build.linkerFlags, ...packages);
    rmSync(folder, { recursive: true, force: true });
    renameSync(aside, folder);
    return folder;
  } catch (error) {
    process.stderr.write(`that failed: ${(error as Error).message}\n`);
    rmSync(aside, { recursive: true, force: true });
    return undefined;
  }
}

function isWhole(folder: string, build: StockBuild): boolean {
  return build.commands.every(name => existsSync(join(folder, name)));
}

/** Path of one program of a build that is there; throws when it is not. */
export function stockProgram(build: string, program: string): string {
  const folder = buildStock(build);
  if (folder === undefined) throw new Error(`${build} is not installed`);
  return join(folder, program);
}

/** Path of a program of our own around stock packages, from `test/interop/go/NAME`; Go decides what is to be built. */
export function buildTool(name: string): string {
  const source = new URL(`go/${name}`, import.meta.url).pathname;
  const path = join(binFolder(), `tool-${name}`);
  const go = findProgram('go');
  if (go === undefined) throw new Error('go is not installed');
  const args = ['build', '-C', source, '-ldflags', '-s -w', '-o', path, '.'];
  const built = spawnSync(go, args, { env: { ...process.env, GOFLAGS: '' }, encoding: 'utf8', timeout: 600_000 });
  if (built.status !== 0) throw new Error(`go build ${name}: ${built.stderr ?? built.error}`);
  return path;
}

function findOrBuild(): string | undefined {
  const folder = binFolder();
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
