/**
 * What is published for Moddable, in dist/moddable: `targets/moddable/index.ts` with all that it needs in one module, made
 * for flash (build-xs.ts), the C of the native parts, and `manifest.json`, which names exactly these files.
 * `package.json` has the same manifest for mcpack, by reference.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { checkPublicMembers } from './public-members.ts';
import { bundleForXs } from './build-xs.ts';

/** Copied as they are: what the C compiler reads, and the JavaScript that names its functions. */
const NATIVE_FOLDERS = ['targets/moddable', 'targets/moddable/native'];
/** Complete apps, published ready to be built: their TypeScript has become JavaScript, the rest is copied. */
const EXAMPLES = ['examples/esp32-sensor', 'examples/esp32-button'];
/** Modules of the SDK that the entry imports. */
const OF_SDK = ['embedded:*', 'modules', 'net', 'preference', 'time', 'timer'];
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
  readonly modules?: Readonly<Record<string, string | readonly string[]>>;
  /** Modules that are run at build time and frozen into flash. */
  readonly preload: readonly string[];
}

/** The manifests of dist/moddable, by file. */
export interface ModdableManifests {
  /** For a manifest of one's own to include: everything. */
  readonly 'manifest.json': ModdableManifest;
  /** For mcpack, which finds the modules by itself: what is native, and what is to lie in flash. */
  readonly 'mcpack.json': ModdableManifest;
  /** The native parts, and the modules of the SDK. */
  readonly 'native.json': ModdableManifest;
}

/**
 * The sources that the entry needs at run time, below `root`. Throws Error when a dependency is among them: what of
 * `@noble` XS can hold is a question that `up.ts` answers.
 */
export async function moddableSources(root: string): Promise<string[]> {
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
    external: OF_SDK,
  });
  const inputs = Object.keys(metafile.inputs).sort();
  const foreign = inputs.filter(path => path.includes('node_modules/'));
  if (foreign.length > 0) throw new Error(`the entry for Moddable needs ${foreign.join(' ')}`);
  return inputs;
}

/** Files of C and of native JavaScript, below `root`. */
export function nativeFiles(root: string): string[] {
  return NATIVE_FOLDERS.flatMap(folder =>
    readdirSync(join(root, folder))
      .filter(name => /\.(c|h|js)$/.test(name))
      .map(name => `${folder}/${name}`),
  ).sort();
}

/** What of the examples is copied: everything but TypeScript. Below `root`. */
export function exampleFiles(root: string): string[] {
  return EXAMPLES.flatMap(folder =>
    readdirSync(join(root, folder))
      .filter(name => !name.endsWith('.ts'))
      .map(name => `${folder}/${name}`),
  );
}

/**
 * The manifests. All of it is preloaded: XS never finds a BigInt that was made at build time equal to one made later, but
 * motenet makes none at the top level of a module (`test/checks` sees to it), and what of noble does is left out.
 */
export function moddableManifests(native: readonly string[]): ModdableManifests {
  const bare = (path: string) => path.replace(/\.[a-z]+$/, '');
  const scripts = native.filter(path => path.endsWith('.js')).map(bare);
  const onlyC = native.filter(path => path.endsWith('.c') && !scripts.includes(bare(path)));
  return {
    'native.json': {
      include: INCLUDES,
      modules: {
        'motenet-random': './targets/moddable/random',
        'motenet-retained': './targets/moddable/retained',
        'motenet-crypto': './targets/moddable/native/crypto',
        '*': onlyC.map(path => `./${bare(path)}`),
      },
      preload: ['motenet-random', 'motenet-retained', 'motenet-crypto'],
    },
    'mcpack.json': { include: ['./native.json'], preload: ['motenet/dist/moddable/motenet'] },
    'manifest.json': { include: ['./native.json'], modules: { motenet: './motenet' }, preload: ['motenet'] },
  };
}

/** The module that is published, as text. Throws Error where two private members would become one. */
export async function moddableModule(root: string): Promise<string> {
  checkPublicMembers(
    new Map((await moddableSources(root)).map(path => [path, readFileSync(join(root, path), 'utf8')])),
  );
  const contents = "export * from './targets/moddable/index.ts';";
  return bundleForXs({ contents, folder: root, external: OF_SDK, isShort: true });
}

/** Fills dist/moddable, into which tsc has put the examples: what else is there goes. */
export async function buildModdable(root: string, dist: string): Promise<void> {
  const native = nativeFiles(root);
  for (const name of readdirSync(dist)) if (name !== 'examples') rmSync(join(dist, name), { recursive: true });
  for (const path of [...native, ...exampleFiles(root)]) {
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    copyFileSync(join(root, path), join(dist, path));
  }
  writeFileSync(join(dist, 'motenet.js'), await moddableModule(root));
  for (const [name, manifest] of Object.entries(moddableManifests(native)))
    writeFileSync(join(dist, name), `${JSON.stringify(manifest, null, 2)}\n`);
}
