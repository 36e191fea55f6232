/**
 * Rule: who may import whom. The table is the one that people read, in `lib/README.md`.
 */
import { posix } from 'node:path';
import { SyntaxKind } from 'typescript/unstable/ast';
import { isCallExpression, isImportTypeNode, isLiteralTypeNode, isStringLiteral } from 'typescript/unstable/ast/is';
import { type Finding, findingAt, type Source, walk } from './source.ts';

/** Layer (a folder or file of lib) to the layers that it may import; `*` for all. */
export type LayerTable = ReadonlyMap<string, readonly string[]>;

/** Reads the table whose header is `| layer | may import |`. */
export function parseLayerTable(markdown: string): LayerTable {
  const table = new Map<string, string[]>();
  let isInside = false;
  for (const line of markdown.split('\n')) {
    const cells = line.split('|').map(cell => cell.trim());
    if (cells[1] === 'layer' && cells[2] === 'may import') isInside = true;
    else if (isInside && cells.length < 3) isInside = false;
    else if (isInside && !/^-+$/.test(cells[1]!)) table.set(unquote(cells[1]!), names(cells[2]!));
  }
  return table;
}

function names(cell: string): string[] {
  if (cell === 'everything') return ['*'];
  return cell
    .split(',')
    .map(unquote)
    .filter(name => name !== '');
}

function unquote(text: string): string {
  return text.trim().replace(/^`|`$/g, '');
}

/** One import of a file: by statement, `export … from`, `import()` or `import('…')` type. */
export interface Import {
  readonly specifier: string;
  readonly finding: Finding;
}

/** All imports of a file, types included. */
export function importsOf(source: Source): Import[] {
  const found: Import[] = [];
  walk(source.tree, node => {
    let target: unknown;
    if (node.kind === SyntaxKind.ImportDeclaration || node.kind === SyntaxKind.ExportDeclaration)
      target = (node as { moduleSpecifier?: unknown }).moduleSpecifier;
    else if (isImportTypeNode(node) && isLiteralTypeNode(node.argument)) target = node.argument.literal;
    else if (isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword) target = node.arguments[0];
    if (target === undefined) return;
    const specifier = isStringLiteral(target as never) ? (target as { text: string }).text : '(computed)';
    found.push({ specifier, finding: findingAt(source, node, specifier) });
  });
  return found;
}

/** Breaches of the table, files of unknown layers, foreign packages, and imports that leave lib. */
export function layerFindings(sources: readonly Source[], table: LayerTable): Finding[] {
  const findings: Finding[] = [];
  for (const source of sources) {
    const layer = layerOf(source.path);
    const allowed = table.get(layer);
    if (allowed === undefined)
      findings.push({ path: source.path, line: 1, text: `layer ${layer} is not in the table` });
    for (const { specifier, finding } of importsOf(source)) {
      const problem = judge(source.path, layer, allowed ?? [], specifier);
      if (problem !== undefined) findings.push({ ...finding, text: problem });
    }
  }
  return findings;
}

function judge(path: string, layer: string, allowed: readonly string[], specifier: string): string | undefined {
  if (specifier.startsWith('@noble/')) return layer === 'crypto' ? undefined : `${specifier} outside crypto`;
  if (!specifier.startsWith('.')) return `foreign import ${specifier}`;
  const target = posix.join(posix.dirname(path), specifier);
  if (!target.startsWith('lib/')) return `import of ${target} leaves lib`;
  if (!/\.(ts|json)$/.test(target)) return `import of ${specifier} without its extension`;
  const to = layerOf(target);
  return to === layer || allowed.includes('*') || allowed.includes(to) ? undefined : `${layer} may not import ${to}`;
}

/** `wireguard` for `lib/wireguard/tunnel.ts`, `driver.ts` for `lib/driver.ts`. */
function layerOf(path: string): string {
  return path.split('/')[1]!;
}

/** Imports that lead back to where they started, each cycle once, as `a.ts -> b.ts -> a.ts`. */
export function cycleFindings(sources: readonly Source[]): Finding[] {
  const graph = new Map(sources.map(source => [source.path, localImports(source)]));
  const findings: Finding[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    const seenAt = trail.indexOf(path);
    if (seenAt >= 0) findings.push({ path, line: 1, text: [...trail.slice(seenAt), path].join(' -> ') });
    if (seenAt >= 0 || done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return findings;
}

function localImports(source: Source): string[] {
  const specifiers = importsOf(source).map(({ specifier }) => specifier);
  return specifiers.filter(name => name.startsWith('.')).map(name => posix.join(posix.dirname(source.path), name));
}
