/**
 * The repository's sources as syntax trees, for the rules in this folder.
 *
 * A rule is a function from trees to findings. It runs on the real files, where it must find nothing, and on a few
 * lines that break it, where it must find just that: a rule that cannot fail proves nothing.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Node, SourceFile } from 'typescript/unstable/ast';
import { createVirtualFileSystem } from 'typescript/unstable/fs';
import { API } from 'typescript/unstable/sync';
import { findFiles, ROOT } from '../tools/files.ts';

/** One parsed file. */
export interface Source {
  /** Path relative to the repository, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly tree: SourceFile;
}

/** A breach of a rule. */
export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly text: string;
}

/** Parses TypeScript texts, given by path. Nothing is resolved or type-checked. */
export function parseSources(texts: { readonly [path: string]: string }): Source[] {
  const options = { noLib: true, noResolve: true, types: [], allowImportingTsExtensions: true, noEmit: true };
  const config = JSON.stringify({ compilerOptions: options, include: ['**/*.ts'] });
  const files: { [path: string]: string } = { '/virtual/tsconfig.json': config };
  for (const path in texts) files[`/virtual/${path}`] = texts[path]!;
  const api = new API({ cwd: '/virtual', fs: createVirtualFileSystem(files) });
  try {
    const snapshot = api.updateSnapshot({ openProjects: ['/virtual/tsconfig.json'] });
    const program = snapshot.getProjects()[0]!.program;
    return Object.keys(texts).map(path => {
      const tree = program.getSourceFile(`/virtual/${path}`);
      if (tree === undefined) throw new Error(`${path} was not parsed`);
      return { path, text: texts[path]!, tree };
    });
  } finally {
    api.close();
  }
}

/** Parses all `.ts` files below the given folders of the repository. */
export function parseFolders(...folders: string[]): Source[] {
  const texts: { [path: string]: string } = {};
  for (const path of folders.flatMap(folder => findFiles(folder, ['.ts']))) texts[path] = readText(path);
  return parseSources(texts);
}

/** Text of a file of the repository. */
export function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Calls `visit` for every node below `node`, parents first; its own children only unless `visit` returns false. */
export function walk(node: Node, visit: (node: Node, parent: Node) => unknown, parent = node): void {
  if (visit(node, parent) === false) return;
  node.forEachChild(child => {
    walk(child, visit, node);
  });
}

/** A finding at a node. */
export function findingAt(source: Source, node: Node, text: string): Finding {
  return { path: source.path, line: lineOf(source, node.getStart(source.tree)), text };
}

/** Line (from 1) of an offset. */
export function lineOf(source: Source, offset: number): number {
  let line = 1;
  for (let i = source.text.indexOf('\n'); i >= 0 && i < offset; i = source.text.indexOf('\n', i + 1)) line++;
  return line;
}

/** `path:line text`, as assertions compare them. */
export function describe(findings: readonly Finding[]): string[] {
  return findings.map(finding => `${finding.path}:${finding.line} ${finding.text}`);
}
