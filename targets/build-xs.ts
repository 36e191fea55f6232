/**
 * One script of many modules, as XS holds it best: what is preloaded lies in flash with 16 bytes for each slot, so what
 * has no slot costs nothing. Works on what esbuild prints, where each statement of a module's top level begins a line.
 *
 * - Numbers, booleans and short texts that are named at the top level stand where they are used: a function has a slot
 *   for each name that it uses from outside, and looks it up there.
 * - Functions at the top level that nobody constructs become arrow functions: a `function` has a prototype object of its
 *   own, 48 bytes in three slots.
 * - What is left at the top level is `const` again, of which esbuild makes `var`: only constants lie in flash.
 * - Private members are ordinary ones (public-members.ts).
 */
import { readFileSync } from 'node:fs';
import { build, type Plugin, transform } from 'esbuild';
import { publicMembers } from './public-members.ts';

/** Longest text that is written where it is used: the name's slot has 16 bytes. */
const MAX_INLINE_CHARACTERS = 14;
const DECLARATION = /^(?:var|let|const) (\w+) = ([^\n]+);\n/gm;
const TEXT = /^"[^"\\]*"$/;
const ARITHMETIC = /^[\w\s+\-*/%()<>|&~^.]+$/;
const FUNCTION = /^function (\w+)\((.*)\) \{\n([\s\S]*?)^\}\n/gm;
const NEEDS_FUNCTION = /\bthis\b|\barguments\b|\bnew\.target\b/;
/** XS 13 cannot run a static initializer that makes an instance of a class with fields: `get ?: not initialized yet`. */
const SUPPORTED = Object.freeze({ 'class-static-field': false });

/** What to bundle: a module as text, and the folder that its relative imports start from. */
export interface XsSource {
  readonly contents: string;
  readonly folder: string;
  /** Imports that stay, in esbuild's terms. */
  readonly external?: readonly string[];
  /** Local names become short ones, each of which XS keeps as a key: for what is flashed, not for what is looked into. */
  readonly isShort?: boolean;
}

/** The module with everything it imports; imports of `external` and its own exports stay. Throws what esbuild throws. */
export async function bundleForXs({ contents, folder, external = [], isShort = false }: XsSource): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: folder, loader: 'ts' },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'neutral',
    target: 'es2022',
    supported: SUPPORTED,
    mainFields: ['module', 'main'],
    external: [...external],
    legalComments: 'none',
    logLevel: 'silent',
    plugins: [PUBLIC_MEMBERS],
  });
  const { text, constants } = takeConstants(outputFiles[0]!.text);
  const { code } = await transform(constantsAgain(arrowFunctions(text)), {
    format: 'esm',
    target: 'es2022',
    supported: SUPPORTED,
    define: constants,
    minifyIdentifiers: isShort,
    treeShaking: true,
    legalComments: 'none',
  });
  return constantsAgain(code);
}

const PUBLIC_MEMBERS: Plugin = {
  name: 'public-members',
  setup(builder) {
    builder.onLoad({ filter: /\.ts$/ }, ({ path }) => ({
      contents: publicMembers(readFileSync(path, 'utf8')),
      loader: 'ts',
    }));
  },
};

/**
 * Takes from a bundle the declarations at its top level whose value is a number, `true`, `false` or a short text, also
 * where it is computed of others; gives their values as source text, by name. What is exported or assigned to stays.
 */
export function takeConstants(bundle: string): { text: string; constants: { [name: string]: string } } {
  const constants: { [name: string]: string } = {};
  const busy = busyNames(bundle);
  const text = bundle.replaceAll(DECLARATION, (line, name: string, expression: string) => {
    const value = busy.has(name) ? undefined : valueIn(expression, constants);
    if (value === undefined) return line;
    constants[name] = value;
    return '';
  });
  return { text, constants };
}

/** Names that are exported, or that something is assigned to beside their declaration. */
function busyNames(bundle: string): Set<string> {
  const names = new Set<string>();
  for (const [list] of bundle.matchAll(/^export \{[^}]*\}/gm))
    for (const [name] of list.matchAll(/\w+/g)) names.add(name);
  for (const [, name] of bundle.matchAll(
    /(?<![.\w]|\b(?:const|let|var) )(\w+) (?:[-+*/%&|^?]|<<|>>>?|\*\*|&&|\|\||\?\?)?=(?![=>])/g,
  ))
    names.add(name!);
  for (const [, before, after] of bundle.matchAll(/(?:\+\+|--)(\w+)|(?<![.\w])(\w+)(?:\+\+|--)/g))
    names.add(before ?? after!);
  return names;
}

function valueIn(expression: string, constants: { readonly [name: string]: string }): string | undefined {
  if (TEXT.test(expression)) return expression.length - 2 <= MAX_INLINE_CHARACTERS ? expression : undefined;
  if (!ARITHMETIC.test(expression)) return undefined;
  let isKnown = true;
  const source = expression.replaceAll(/\b[A-Za-z_]\w*/g, name => {
    const value = name === 'true' || name === 'false' ? name : constants[name];
    if (value === undefined || value.startsWith('"')) isKnown = false;
    return `(${value})`;
  });
  if (!isKnown) return undefined;
  const value: unknown = new Function(`return ${source}`)();
  return typeof value === 'boolean' || Number.isFinite(value) ? String(value) : undefined;
}

/** The bundle with arrow functions, behind its imports, for the functions at its top level that can be such. */
export function arrowFunctions(bundle: string): string {
  const constructed = new Set(
    [...bundle.matchAll(/\bnew (\w+)\b|\b(\w+)\.prototype\b/g)].map(found => found[1] ?? found[2]),
  );
  const arrows: string[] = [];
  const text = bundle.replaceAll(FUNCTION, (whole, name: string, parameters: string, body: string) => {
    if (constructed.has(name) || NEEDS_FUNCTION.test(body)) return whole;
    arrows.push(`const ${name} = (${parameters}) => {\n${body}};\n`);
    return '';
  });
  const imports = /^(?:import [^\n]*;\n|\/\/[^\n]*\n)*/.exec(text)![0];
  return imports + arrows.join('') + text.slice(imports.length);
}

/** The bundle with `const` at its top level for what nobody assigns to. */
function constantsAgain(bundle: string): string {
  const busy = busyNames(bundle.replaceAll(/^export \{[^}]*\}/gm, ''));
  return bundle.replaceAll(/^(?:var|let) (\w+) = /gm, (whole, name: string) =>
    busy.has(name) ? whole : `const ${name} = `,
  );
}
