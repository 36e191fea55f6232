/**
 * The XS engine: built from the sources in the npm package @agoric/xsnap, with a shell of our own (shell.c).
 *
 * The package is a development tool, never a dependency: `npm pack` fetches it into the cache outside the tree
 * (`$MOTENET_CACHE`, else `~/.cache/motenet`), its integrity is checked here, and its sources are compiled there, for
 * 64 bit and for 32 bit, where a slot has 16 bytes as on an ESP32. It is XS 13; boards of today ship XS 17.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { findFiles, ROOT } from '../tools/files.ts';

/** The package, and the SHA-512 of its archive as the registry states it. */
const PACKAGE = '@agoric/xsnap';
const VERSION = '0.15.0';
const INTEGRITY = 'sha512-ZBm4DZxbtfacxMHVVdJjZi0Y8zOxN77vpu1WwI5RWfPkaRh0aHkz/dVdTGKXalDNzWfz183lljKxlxl3/h0n+A==';

/** Snapshots and the profiler are not part of what a board has. */
const LEFT_OUT = new Set(['xsSnapshot.c']);
const DEFINES = [
  '-DINCLUDE_XSPLATFORM',
  '-DXSPLATFORM="platform.h"',
  '-DmxMetering=1',
  '-DmxParse=1',
  '-DmxRun=1',
  '-DmxSloppy=1',
  '-DmxRegExpUnicodePropertyEscapes=1',
  '-DmxStringNormalize=1',
  '-DmxMinusZero=1',
  '-DmxBoundsCheck=1',
];
const COMPILE_TIMEOUT_MS = 240_000;

/** Address size of an engine. */
export type Bits = 32 | 64;

function cacheFolder(): string {
  return join(process.env['MOTENET_CACHE'] ?? join(homedir(), '.cache', 'motenet'), 'xs');
}

/** Folder of the unpacked package, fetched when it is not there. Throws Error saying what to do. */
export function enginePackage(): string {
  const folder = join(cacheFolder(), `xsnap-${VERSION}`);
  if (existsSync(folder)) return join(folder, 'package');
  const aside = `${folder}.${process.pid}`;
  mkdirSync(aside, { recursive: true });
  const run = (program: string, ...args: string[]) => {
    const { status, stderr } = spawnSync(program, args, { cwd: aside, encoding: 'utf8', timeout: 120_000 });
    if (status !== 0) throw new Error(`${program} ${args[0]} ${PACKAGE}: ${(stderr ?? '').trim().split('\n').at(-1)}`);
  };
  try {
    run('npm', 'pack', '--silent', `${PACKAGE}@${VERSION}`);
    const archive = readdirSync(aside).find(name => name.endsWith('.tgz')) ?? '';
    const sum = createHash('sha512')
      .update(readFileSync(join(aside, archive)))
      .digest('base64');
    if (`sha512-${sum}` !== INTEGRITY) throw new Error(`${PACKAGE} ${VERSION} is not what it was: sha512-${sum}`);
    run('tar', '-xzf', archive);
    renameSync(aside, folder);
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  return join(folder, 'package');
}

/** Compiles files side by side, as many as there are cores; `objects` are those that are not there yet. */
async function compileAll(objects: readonly { source: string; object: string }[], flags: string[]): Promise<void> {
  const waiting = objects.filter(({ object }) => !existsSync(object));
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { source, object } = next;
      const aside = `${object}.${process.pid}`;
      await new Promise<void>((resolve, reject) => {
        const child = spawn('gcc', [...flags, '-c', source, '-o', aside], { timeout: COMPILE_TIMEOUT_MS });
        let text = '';
        child.stderr.on('data', chunk => (text += String(chunk)));
        child.on('error', reject);
        child.on('exit', code => (code === 0 ? resolve() : reject(new Error(`gcc ${basename(source)}: ${text}`))));
      });
      renameSync(aside, object);
    }
  };
  await Promise.all([lane(), lane()]);
}

function textsOf(files: readonly string[]): string {
  return files.map(file => readFileSync(file, 'utf8')).join('\n');
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

/** The C of the native crypto: `sources.txt` beside it lists the files, `crypto-xs.h` the functions for scripts. */
function nativeSources(): { folder: string; sources: string[]; headers: string[] } {
  const folder = join(ROOT, 'targets/moddable/native');
  const lines = readFileSync(join(folder, 'sources.txt'), 'utf8').split('\n');
  const sources = lines.filter(line => /^[\w-]+\.c$/.test(line)).map(name => join(folder, name));
  return { folder, sources, headers: findFiles('targets/moddable/native', ['.h']).map(path => join(ROOT, path)) };
}

const NATIVE_TABLE = `
#include "xsmc.h"
#include "crypto-xs.h"
typedef struct { const char* name; void (*run)(xsMachine*); int count; } Native;
#define DECLARE(name, count) extern void name(xsMachine*);
MOTE_XS_FUNCTIONS(DECLARE)
#define ENTRY(name, count) {#name, name, count},
const Native NATIVES[] = {MOTE_XS_FUNCTIONS(ENTRY) {0, 0, 0}};
`;

/**
 * Path of the shell for `bits`; builds what is missing (about 15 s the first time). Throws Error when there is no
 * compiler for it, naming what to install.
 */
export async function buildShell(bits: Bits): Promise<string> {
  const xs = join(enginePackage(), 'moddable/xs');
  const own = join(ROOT, 'test/xs');
  const machine = bits === 32 ? ['-m32', '-msse2', '-mfpmath=sse'] : ['-m64'];
  const includes = ['includes', 'platforms', 'sources'].map(name => `-I${join(xs, name)}`);
  const flags = [...machine, '-O3', '-fno-common', ...DEFINES, ...includes, `-I${own}`];
  const natives = nativeSources();
  const engineHash = shortHash(`${VERSION} ${flags.join(' ')} ${textsOf([join(own, 'platform.h')])}`);
  const folder = join(cacheFolder(), `engine-${bits}-${engineHash}`);
  mkdirSync(folder, { recursive: true });
  const probe = spawnSync('gcc', [...machine, '-x', 'c', '-', '-o', '/dev/null'], {
    input: '#include <stdio.h>\nint main(void) { return 0; }',
    encoding: 'utf8',
  });
  if (probe.status !== 0) {
    const what = probe.error !== undefined ? 'gcc' : bits === 32 ? 'gcc-multilib' : 'libc6-dev';
    throw new Error(`no C compiler for ${bits} bit here, run apt-get install ${what}`);
  }
  const engine = readdirSync(join(xs, 'sources'))
    .filter(name => name.endsWith('.c') && !LEFT_OUT.has(name))
    .map(name => ({ source: join(xs, 'sources', name), object: join(folder, name.replace(/c$/, 'o')) }));
  await compileAll(engine, [...flags, '-w']);

  const ownFiles = ['platform.c', 'shell.c', 'memory.h'].map(name => join(own, name));
  const shellHash = shortHash(textsOf([...ownFiles, ...natives.sources, ...natives.headers]));
  const shell = join(folder, `shell-${shellHash}`);
  if (existsSync(shell)) return shell;
  const table = join(folder, `natives-${shellHash}.c`);
  writeFileSync(table, NATIVE_TABLE);
  writeFileSync(join(folder, 'mc.xs.h'), '/* The engine here has no identifiers of its own. */\n');
  const parts = [...ownFiles.filter(path => path.endsWith('.c')), ...natives.sources, table].map(source => ({
    source,
    object: join(folder, `${basename(source, '.c')}-${shellHash}.o`),
  }));
  await compileAll(parts, [
    ...flags,
    '-Wall',
    '-Wextra',
    '-Wno-unused-parameter',
    `-I${natives.folder}`,
    `-I${folder}`,
  ]);
  const objects = [...engine, ...parts].map(({ object }) => object);
  const linked = spawnSync(
    'gcc',
    [...machine, ...objects, '-o', `${shell}.${process.pid}`, '-lm', '-lpthread', '-ldl'],
    {
      encoding: 'utf8',
    },
  );
  if (linked.status !== 0) throw new Error(`gcc cannot link the shell: ${linked.stderr}`);
  renameSync(`${shell}.${process.pid}`, shell);
  return shell;
}
