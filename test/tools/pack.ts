/**
 * `npm run pack-test`: what a user gets. Packs, installs with scripts off into an empty folder, without any network (the
 * dependencies are packed from here), and imports it with types from Node, Deno, Bun and a browser bundle. Then the same
 * with the server, which is a package of its own: it starts, the command administers it, and the examples of all three
 * runtimes join it and fetch from each other by name.
 */
import { execFile } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { ROOT } from './files.ts';
import { endAll, type Ring, runRing } from './pack-examples.ts';
import { BUN, DENO, type Runtime, runOn } from './runtimes.ts';
import { closingLine, emptyTally, exitCode } from './tally.ts';

const run = promisify(execFile);
const MAX_PACKAGES = 4;
const NPM_FLAGS = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];

/** The program that every runtime runs: two motes in one process, a greeting through the tunnel. */
const PROGRAM = `
import { host, Mote, SecretKey, up } from 'motenet';
import { Tunnel } from 'motenet/wireguard';
import { Stack } from 'motenet/netstack';

const [name] = process.argv.slice(2);
if (host.name !== name) throw new Error('the exports chose ' + host.name + ' instead of ' + name);
if (typeof Tunnel !== 'function' || typeof Stack !== 'function') throw new Error('a subpath is empty');
const [a, b] = [SecretKey.generate(host.random), SecretKey.generate(host.random)];
const one: Mote = await up({ privateKey: a, addresses: ['10.7.0.1/24'] });
const two: Mote = await up({
  privateKey: b,
  addresses: ['10.7.0.2/24'],
  peers: [{ publicKey: one.publicKey, endpoint: \`127.0.0.1:\${one.listenPort}\`, allowedIPs: ['10.7.0.1/32'] }],
});
one.addPeer({ publicKey: two.publicKey, allowedIPs: ['10.7.0.2/32'] });
const listener = await one.listen(7);
const dialled = await two.dial('10.7.0.1', 7);
await dialled.write(new Uint8Array([104, 105]));
const accepted = await listener.accept();
const got = await accepted!.read();
if (got?.join() !== '104,105') throw new Error('got ' + got?.join());
await two.close();
await one.close();
console.log('greeted on ' + name);
`;

const BROWSER = `
import { createNobleSuite, Mote, parseEndpoint } from 'motenet';
console.log(createNobleSuite().name, typeof Mote.up, parseEndpoint('1.2.3.4:5')!.port);
`;

const TSCONFIG = {
  compilerOptions: {
    target: 'ES2022',
    module: 'NodeNext',
    strict: true,
    noEmit: true,
    lib: ['ES2023'],
    types: [],
    exactOptionalPropertyTypes: true,
  },
  files: ['program.ts', 'browser.ts', 'env.d.ts'],
};

/** What runs the server: start, join nothing, stop. */
const SERVER_PROGRAM = `
import { openOffline, startServer, type Server } from 'motenet-server';

const listen = { host: '127.0.0.1', port: 0 };
const server: Server = await startServer({ dataDir: 'data', listen, stunPort: 0, log: () => undefined });
const outcome = await server.command({ name: 'admin', tailnet: undefined }, { type: 'key-create', tailnet: 'default' });
if (!outcome.isOk) throw new Error(outcome.message);
await server.close();
const offline = await openOffline('data');
const [line] = offline.audit({ limit: 1 });
await offline.close();
console.log('served, last ' + line!.action);
`;

/** A package and all that it needs, folders in node_modules; optional ones for this machine only, as installed. */
function closure(folder: string, found = new Set<string>()): Set<string> {
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  );
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const nested = join(folder, 'node_modules', name);
    const place = existsSync(nested) ? nested : join(ROOT, 'node_modules', name);
    if (found.has(place) || !existsSync(place)) continue;
    found.add(place);
    closure(place, found);
  }
  return found;
}

async function packServer(folder: string): Promise<string[]> {
  const tarballs = join(folder, 'server-tarballs');
  mkdirSync(tarballs);
  const server = join(ROOT, 'targets/server');
  const sources = [server, ...closure(server)];
  const flags = ['--pack-destination', tarballs, '--loglevel=error', '--ignore-scripts'];
  await run('npm', ['pack', ...sources, ...flags], { cwd: ROOT, maxBuffer: 16 << 20 });
  return readdirSync(tarballs).map(name => join(tarballs, name));
}

/** Installs the server beside the library, and has both work together. */
async function tryServer(folder: string): Promise<string> {
  const app = join(folder, 'server-app');
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true, "type": "module" }');
  writeFileSync(join(app, 'program.ts'), SERVER_PROGRAM);
  writeFileSync(join(app, 'env.d.ts'), 'declare const console: { log(...args: unknown[]): void };');
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ ...TSCONFIG, files: ['program.ts', 'env.d.ts'] }));
  const library = readdirSync(join(folder, 'tarballs')).map(name => join(folder, 'tarballs', name));
  const all = [...library, ...(await packServer(folder))];
  await run('npm', ['install', '--offline', ...NPM_FLAGS, ...all], { cwd: app });
  const entries = readdirSync(join(app, 'node_modules/motenet-server')).filter(name => name !== 'node_modules');
  const unexpected = entries.filter(name => !['LICENSE', 'README.md', 'dist', 'package.json'].includes(name));
  if (unexpected.length > 0) throw new Error(`not meant to be in the package: ${unexpected.join(' ')}`);
  await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', '.'], { cwd: app }).catch(error => {
    throw new Error(error.stdout);
  });
  await build({
    entryPoints: [join(app, 'program.ts')],
    outfile: join(app, 'program.js'),
    format: 'esm',
    logLevel: 'silent',
  });
  const { stdout } = await run(process.execPath, ['program.js'], { cwd: app, timeout: 60_000 });
  const command = ['keys', 'list', '--data', 'data', '--json'];
  const { stdout: keys } = await run(join(app, 'node_modules/.bin/motenet'), command, { cwd: app, timeout: 60_000 });
  if (!keys.includes('"owner"')) throw new Error(`motenet keys list: ${keys}`);
  return `${installed(app).length} packages, ${stdout.trim()}`;
}

/** The examples, as their users have them: from the packages, against `motenet serve`, with keys that it made. */
async function tryExamples(app: string): Promise<string> {
  const sources = join(ROOT, 'examples');
  for (const name of ['node', 'deno', 'bun']) copyFileSync(join(sources, `${name}.ts`), join(app, `${name}.ts`));
  const typed = {
    ...TSCONFIG.compilerOptions,
    lib: ['ES2023'],
    types: ['node'],
    typeRoots: [join(ROOT, 'node_modules/@types')],
  };
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify({ compilerOptions: typed, files: ['node.ts', 'bun.ts'] }));
  await run(join(ROOT, 'node_modules/.bin/tsc'), ['-p', '.'], { cwd: app }).catch(error => {
    throw new Error(error.stdout);
  });
  await build({
    entryPoints: [join(app, 'node.ts')],
    outfile: join(app, 'node.js'),
    format: 'esm',
    logLevel: 'silent',
  });
  const deno: Ring = {
    name: 'on-deno',
    program: DENO.program,
    args: ['run', '-A', '--unstable-net', '--check', 'deno.ts'],
  };
  const bun: Ring = { name: 'on-bun', program: BUN.program, args: [...BUN.flags, 'bun.ts'] };
  const missing = [deno, bun].filter(({ program }) => program === undefined).map(({ name }) => name);
  if (missing.length > 0) return `skipped: no runtime for ${missing.join(' and ')}`;
  const node: Ring = { name: 'on-node', program: process.execPath, args: ['node.js'] };
  return runRing(app, [node, deno, bun]);
}

async function pack(folder: string): Promise<string[]> {
  const tarballs = join(folder, 'tarballs');
  mkdirSync(tarballs);
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const sources = [ROOT, ...Object.keys(dependencies).map(name => join(ROOT, 'node_modules', name))];
  for (const source of sources) {
    const scripts = source === ROOT ? [] : ['--ignore-scripts'];
    await run('npm', ['pack', source, '--pack-destination', tarballs, '--loglevel=error', ...scripts], { cwd: ROOT });
  }
  return readdirSync(tarballs).map(name => join(tarballs, name));
}

/** Packages that an installation brought. */
function installed(folder: string): string[] {
  const names = readdirSync(join(folder, 'node_modules')).filter(name => !name.startsWith('.'));
  return names.flatMap(name =>
    name.startsWith('@') ? readdirSync(join(folder, 'node_modules', name)).map(inner => `${name}/${inner}`) : [name],
  );
}

async function runProgram(runtime: Runtime, folder: string): Promise<string> {
  if (runtime.program === undefined) return 'skipped: the program is not installed';
  const { code, output } = await runOn(runtime, ['program.ts', runtime.name], { cwd: folder });
  if (code !== 0 || !output.includes(`greeted on ${runtime.name}`)) throw new Error(output);
  return output.trim().split('\n').at(-1)!;
}

async function main(): Promise<void> {
  const tally = emptyTally();
  const folder = mkdtempSync(join(tmpdir(), 'motenet-pack-'));
  const app = join(folder, 'app');
  const step = async (name: string, action: () => Promise<string>) => {
    try {
      const text = await action();
      tally[text.startsWith('skipped') ? 'skipped' : 'passed']++;
      console.log(`ok   ${name}: ${text}`);
    } catch (error) {
      tally.failed++;
      console.log(`FAIL ${name}: ${(error as Error).message}`);
    }
  };
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true, "type": "module" }');
  writeFileSync(join(app, 'program.ts'), PROGRAM);
  writeFileSync(join(app, 'browser.ts'), BROWSER);
  writeFileSync(join(app, 'tsconfig.json'), JSON.stringify(TSCONFIG));
  writeFileSync(
    join(app, 'env.d.ts'),
    'declare const process: { argv: string[] };\ndeclare const console: { log(...args: unknown[]): void };',
  );
  await step('pack and install, no network, no scripts', async () => {
    await run('npm', ['install', '--offline', ...NPM_FLAGS, ...(await pack(folder))], { cwd: app });
    const names = installed(app);
    if (names.length > MAX_PACKAGES) throw new Error(`${names.length} packages: ${names.join(' ')}`);
    return names.join(' ');
  });
  await step('only what is meant is in the package', async () => {
    const entries = readdirSync(join(app, 'node_modules/motenet'));
    const unexpected = entries.filter(name => !['LICENSE', 'README.md', 'dist', 'package.json'].includes(name));
    if (unexpected.length > 0) throw new Error(unexpected.join(' '));
    return entries.join(' ');
  });
  await step('types, with the strictest settings and no runtime types', async () => {
    const conditions = ['node', 'deno', 'bun', 'browser'];
    for (const condition of conditions) {
      const only = condition === 'browser' ? ['browser.ts', 'env.d.ts', '--ignoreConfig'] : ['-p', '.'];
      const options =
        condition === 'browser'
          ? '--module esnext --moduleResolution bundler --noEmit --strict --target es2022 --lib es2023 --types'.split(
              ' ',
            )
          : [];
      const args = [...only, ...options, ...(options.length > 0 ? [''] : []), '--customConditions', condition];
      await run(join(ROOT, 'node_modules/.bin/tsc'), args, { cwd: app }).catch(error => {
        throw new Error(`${condition}: ${error.stdout}`);
      });
    }
    return conditions.join(' ');
  });
  await step('node', async () => {
    await build({
      entryPoints: [join(app, 'program.ts')],
      outfile: join(app, 'program.js'),
      format: 'esm',
      logLevel: 'silent',
    });
    const { stdout } = await run(process.execPath, ['program.js', 'node'], { cwd: app, timeout: 60_000 });
    return stdout.trim();
  });
  await step('deno', () => runProgram(DENO, app));
  await step('bun', () => runProgram(BUN, app));
  await step('a browser bundle', async () => {
    const result = await build({
      entryPoints: [join(app, 'browser.ts')],
      bundle: true,
      platform: 'browser',
      format: 'esm',
      write: false,
      logLevel: 'silent',
      metafile: true,
    });
    const text = result.outputFiles[0]!.text;
    const left = Object.values(result.metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
    if (left.length > 0) throw new Error(`left to be imported: ${left.join(' ')}`);
    return `${text.length} bytes`;
  });
  await step('the command', async () => {
    const { stdout } = await run(join(app, 'node_modules/.bin/motenet'), ['genkey'], { cwd: dirname(app) });
    if (!/^[A-Za-z0-9+/]{43}=\n$/.test(stdout)) throw new Error(stdout);
    return 'genkey prints a key';
  });
  await step('the server, beside the library', () => tryServer(folder));
  await step('examples of three runtimes, in one network', () => tryExamples(join(folder, 'server-app')));
  endAll();
  rmSync(folder, { recursive: true, force: true });
  console.log(`\n${closingLine(tally)}`);
  process.exitCode = exitCode(tally);
}

await main();
