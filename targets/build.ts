/**
 * `npm run build`: what is published, into dist.
 *
 * - one bundle per runtime (node, deno, bun, and the core alone for browsers), Node's sockets and agents over a mote
 *   (apart, because their types need Node's), the two machines that are useful alone
 *   (wireguard, netstack), and the command line;
 * - declarations of all of it, by tsc;
 * - for Moddable one module that is made to lie in flash (build-xs.ts), and the complete apps of examples;
 * - the server, a package of its own, into targets/server/dist: one bundle with the library in it, and its declarations.
 *
 * Dependencies stay imports. `npm run size` (`--size`) measures instead, and fails above the budgets below.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { type BuildOptions, build, transform } from 'esbuild';
import { buildModdable, moddableModule } from './build-moddable.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist');

/** One published module. */
export interface Entry {
  /** Name of the file in dist, without ending. */
  readonly name: string;
  /** Sources whose exports it has. */
  readonly sources: readonly string[];
  readonly platform: 'node' | 'browser' | 'neutral';
  /** Largest size in bytes, minified and then compressed with gzip, dependencies not counted. */
  readonly budgetBytes: number;
}

/** The server's own package: everything but its dependencies is bundled into it. */
const SERVER = join(ROOT, 'targets/server');
const SERVER_DIST = join(SERVER, 'dist');
const SERVER_BUDGET_BYTES = 115_000;

/** What the machines need from the outside, for those who use them alone. */
const PARTS = ['lib/base/address.ts', 'lib/base/drop.ts', 'lib/base/errors.ts', 'lib/base/slot.ts'];
const CRYPTO = ['suite', 'noble', 'wasm', 'select', 'keys'].map(name => `lib/crypto/${name}.ts`);

/** Everything that package.json exports. */
export const ENTRIES: readonly Entry[] = [
  { name: 'node', sources: ['targets/node/index.ts'], platform: 'node', budgetBytes: 165_000 },
  { name: 'node-sockets', sources: ['targets/node/sockets.ts'], platform: 'node', budgetBytes: 16_000 },
  { name: 'deno', sources: ['targets/deno/index.ts'], platform: 'node', budgetBytes: 165_000 },
  { name: 'bun', sources: ['targets/bun/index.ts'], platform: 'node', budgetBytes: 165_000 },
  { name: 'browser', sources: ['lib/index.ts'], platform: 'browser', budgetBytes: 82_000 },
  {
    name: 'wireguard',
    sources: ['lib/wireguard/tunnel.ts', ...PARTS, ...CRYPTO],
    platform: 'neutral',
    budgetBytes: 30_000,
  },
  {
    name: 'netstack',
    sources: ['lib/netstack/stack.ts', 'lib/netstack/tcp.ts', ...PARTS],
    platform: 'neutral',
    budgetBytes: 32_000,
  },
  { name: 'cli', sources: ['targets/cli/main.ts'], platform: 'node', budgetBytes: 240_000 },
];

/** The project of what is built for Moddable, with the examples. */
const MODDABLE = 'targets/moddable/tsconfig.build.json';
/** Budget of the module for Moddable, minified and not compressed; what it takes in flash says `test/xs/size.ts`. */
export const MODDABLE_BUDGET_BYTES = 525_000;

function options(entry: Entry, minify: boolean): BuildOptions {
  const isProgram = entry.name === 'cli';
  const lines = entry.sources.map(source => `export * from ${JSON.stringify(`./${source}`)};`);
  const whole = { contents: lines.join('\n'), resolveDir: ROOT, loader: 'ts' as const };
  return {
    ...(isProgram ? { entryPoints: [join(ROOT, entry.sources[0]!)] } : { stdin: whole }),
    outfile: join(DIST, `${entry.name}.js`),
    bundle: true,
    format: 'esm',
    platform: entry.platform,
    target: 'es2022',
    // The command brings along what it needs beyond the dependencies; what of it has a licence keeps it.
    ...(isProgram ? { external: dependenciesOf(ROOT) } : { packages: 'external' }),
    legalComments: isProgram ? 'eof' : 'none',
    logLevel: 'warning',
    minify,
    write: !minify,
  };
}

function dependenciesOf(folder: string): string[] {
  return Object.keys(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).dependencies);
}

function serverOptions(minify: boolean): BuildOptions {
  return {
    entryPoints: [join(SERVER, 'index.ts')],
    outfile: join(SERVER_DIST, 'index.js'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'es2022',
    external: dependenciesOf(SERVER),
    legalComments: 'eof', // of the libraries that the bundle contains
    logLevel: 'warning',
    minify,
    write: !minify,
  };
}

async function buildServer(): Promise<void> {
  rmSync(SERVER_DIST, { recursive: true, force: true });
  await build(serverOptions(false));
  tsc('targets/server/tsconfig.build.json');
  fixImports(join(SERVER_DIST, 'types'));
  writeFileSync(join(SERVER_DIST, 'index.d.ts'), "export * from './types/targets/server/index.js';\n");
}

/** tsc leaves `.ts` in the imports of declarations. */
function fixImports(folder: string): void {
  for (const path of listFiles(folder)) {
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, text.replaceAll(/((?:from|import\() ?['"]\.[^'"]*)\.ts(?=['"])/g, '$1.js'));
  }
}

async function buildAll(): Promise<void> {
  rmSync(DIST, { recursive: true, force: true });
  for (const entry of ENTRIES) await build(options(entry, false));
  await buildServer();
  chmodSync(join(DIST, 'cli.js'), 0o755);
  tsc('tsconfig.build.json');
  tsc(MODDABLE, ...'--noEmit false --declaration --emitDeclarationOnly --rootDir . --outDir dist/types'.split(' '));
  rmSync(join(DIST, 'types/examples'), { recursive: true });
  fixImports(join(DIST, 'types'));
  for (const entry of ENTRIES) {
    const sources = entry.name === 'cli' ? [] : entry.sources;
    const lines = sources.map(source => `export * from './types/${source.replace(/\.ts$/, '.js')}';\n`);
    if (lines.length > 0) writeFileSync(join(DIST, `${entry.name}.d.ts`), lines.join(''));
  }
  writeFileSync(join(DIST, 'moddable.d.ts'), "export * from './types/targets/moddable/index.js';\n");
  tsc(
    MODDABLE,
    ...'--noEmit false --rewriteRelativeImportExtensions --declaration false'.split(' '),
    ...'--rootDir . --outDir dist/moddable --removeComments'.split(' '),
  );
  await buildModdable(ROOT, join(DIST, 'moddable'));
}

function tsc(project: string, ...more: string[]): void {
  const program = join(ROOT, 'node_modules/.bin/tsc');
  execFileSync(program, ['-p', project, ...more], { cwd: ROOT, stdio: 'inherit' });
}

/** Sizes of what `buildAll` makes; true when all are within their budgets. */
async function measure(): Promise<boolean> {
  let fits = true;
  console.log('entry        min bytes   gzip bytes       budget');
  const print = (name: string, min: number, gzip: number | undefined, budget: number) => {
    const isOver = (gzip ?? min) > budget;
    if (isOver) fits = false;
    const cells = [min, gzip ?? '', budget].map(cell => String(cell).padStart(12));
    console.log(`${name.padEnd(10)}${cells.join(' ')}${isOver ? '   OVER' : ''}`);
  };
  for (const entry of ENTRIES) {
    const result = await build(options(entry, true));
    const bytes = result.outputFiles![0]!.contents;
    print(entry.name, bytes.length, gzipSync(bytes, { level: 9 }).length, entry.budgetBytes);
  }
  const server = (await build(serverOptions(true))).outputFiles![0]!.contents;
  print('server', server.length, gzipSync(server, { level: 9 }).length, SERVER_BUDGET_BYTES);
  const { code } = await transform(await moddableModule(ROOT), { minify: true });
  print('moddable', code.length, undefined, MODDABLE_BUDGET_BYTES);
  return fits;
}

function listFiles(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return entries.map(name => join(folder, name)).filter(path => statSync(path).isFile());
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--size')) {
    if (!(await measure())) process.exitCode = 1;
  } else {
    await buildAll();
    for (const name of readdirSync(DIST)
      .filter(file => file.endsWith('.js'))
      .sort())
      console.log(`dist/${name}  ${readFileSync(join(DIST, name)).length} bytes`);
    console.log(`targets/server/dist/index.js  ${readFileSync(join(SERVER_DIST, 'index.js')).length} bytes`);
  }
}
