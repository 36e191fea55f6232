/**
 * What is published for Moddable, in dist/moddable: the modules that `targets/moddable/index.ts` needs, one file each
 * (a bundle would turn `const` into `var`, and only modules of constants can lie in flash), the C of the native parts,
 * and `manifest.json`, which names exactly these files. `package.json` has the same manifest for mcpack, by reference.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { build } from 'esbuild';

/** Copied as they are: what the C compiler reads, and the JavaScript that names its functions. */
const NATIVE_FOLDERS = ['targets/moddable', 'targets/moddable/native'];
/** Where npm puts the dependencies of an installed motenet, seen from dist/moddable. */
const NOBLE_FOLDER = '../../..';

/** Modules of the SDK that the image needs, by what includes them. */
const INCLUDES = [
  '$(MODDABLE)/examples/manifest_base.json',
  '$(MODDABLE)/examples/manifest_net.json',
  '$(MODDABLE)/modules/io/manifest.json',
  '$(MODDABLE)/modules/files/preference/manifest.json',
  '$(MODDABLE)/modules/base/modules/manifest.json',
];

/** A manifest of the Moddable SDK, as far as it is written here. */
export interface ModdableManifest {
  readonly include: readonly string[];
  /** Module to file without ending; under `*` what has C only. */
  readonly modules: Readonly<Record<string, string | readonly string[]>>;
  /** Modules that are run at build time and frozen into flash. */
  readonly preload: readonly string[];
}

/** Files of the entry, and modules of dependencies that it needs: paths below `root`, with their endings. */
export async function moddableSources(root: string): Promise<{ own: string[]; packages: string[] }> {
  const { metafile } = await build({
    entryPoints: [join(root, 'targets/moddable/index.ts')],
    bundle: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'neutral',
    absWorkingDir: root,
    logLevel: 'silent',
    treeShaking: false,
    external: ['embedded:*', 'modules', 'net', 'preference', 'time', 'timer'],
  });
  const inputs = Object.keys(metafile.inputs).sort();
  return {
    own: inputs.filter(path => !path.includes('node_modules/')),
    packages: inputs.filter(path => path.includes('node_modules/')),
  };
}

/** Files of C and of native JavaScript, below `root`. */
export function nativeFiles(root: string): string[] {
  return NATIVE_FOLDERS.flatMap(folder =>
    readdirSync(join(root, folder))
      .filter(name => /\.(c|h|js)$/.test(name))
      .map(name => `${folder}/${name}`),
  ).sort();
}

/**
 * The manifest. BigInt that was made at build time is never equal to one made later (XS 17.9), so modules that make any
 * at their top level, or are too near to it to tell, stay out of `preload`.
 */
export function moddableManifest(
  root: string,
  own: readonly string[],
  packages: readonly string[],
  native: readonly string[],
): ModdableManifest {
  const bare = (path: string) => path.replace(/\.[a-z]+$/, '');
  const isC = (path: string) => path.endsWith('.c');
  const scripts = native.filter(path => path.endsWith('.js')).map(bare);
  const modules: Record<string, string | string[]> = { motenet: './motenet' };
  for (const path of own) modules[`motenet/${bare(path)}`] = `./${bare(path)}`;
  for (const path of packages) {
    const name = bare(path).replace(/^.*node_modules\//, '');
    modules[name] = `${NOBLE_FOLDER}/${name}`;
  }
  modules['motenet-random'] = './targets/moddable/random';
  modules['motenet-crypto'] = './targets/moddable/native/crypto';
  modules['*'] = native.filter(path => isC(path) && !scripts.includes(bare(path))).map(path => `./${bare(path)}`);
  const preload = [
    'motenet',
    'motenet-random',
    'motenet-crypto',
    ...own.filter(path => !mentionsBigInt(join(root, path))).map(path => `motenet/${bare(path)}`),
    ...packages
      .filter(path => !mentionsBigInt(join(root, path)))
      .map(path => bare(path).replace(/^.*node_modules\//, '')),
  ];
  return { include: INCLUDES, modules, preload };
}

function mentionsBigInt(path: string): boolean {
  return /\bBigInt\b|\b\d+n\b|bigint/.test(readFileSync(path, 'utf8'));
}

/**
 * Completes dist/moddable, into which tsc has put the modules: native files are added, files that have types only are
 * removed. Throws Error when a module is missing.
 */
export async function buildModdable(root: string, dist: string): Promise<void> {
  const { own, packages } = await moddableSources(root);
  const native = nativeFiles(root);
  for (const path of native) {
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    copyFileSync(join(root, path), join(dist, path));
  }
  const wanted = new Set([...own.map(path => path.replace(/\.ts$/, '.js')), ...native]);
  for (const path of listFiles(dist)) if (!wanted.delete(path)) rmSync(join(dist, path));
  if (wanted.size > 0) throw new Error(`dist/moddable lacks ${[...wanted].join(' ')}`);
  writeFileSync(join(dist, 'motenet.js'), "export * from 'motenet/targets/moddable/index';\n");
  const manifest = moddableManifest(root, own, packages, native);
  writeFileSync(join(dist, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(folder, join(entry.parentPath, entry.name)));
}
