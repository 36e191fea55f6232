/**
 * Rules for README files: their TypeScript compiles against the sources, their links lead somewhere, and the scripts and
 * files that they name exist.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { API } from 'typescript/unstable/sync';
import { ROOT } from '../tools/files.ts';
import type { Finding } from './source.ts';

/** A block of code of a README. */
export interface Snippet {
  readonly path: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
}

/** The fenced blocks of a Markdown text. */
export function snippetsOf(path: string, markdown: string): Snippet[] {
  const found: Snippet[] = [];
  let open: { line: number; language: string; lines: string[] } | undefined;
  markdown.split('\n').forEach((line, index) => {
    const fence = /^```(\w*)/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === undefined) open = { line: index + 2, language: fence[1]!, lines: [] };
    else {
      found.push({ path, line: open.line, language: open.language, text: open.lines.join('\n') });
      open = undefined;
    }
  });
  return found;
}

/** Errors of the `ts` and `js` snippets; `motenet` is the source of the Node target, with its subpaths. */
export function snippetFindings(snippets: readonly Snippet[]): Finding[] {
  const code = snippets.filter(({ language }) => ['ts', 'typescript', 'js', 'javascript'].includes(language));
  if (code.length === 0) return [];
  const folder = posix.join(ROOT, 'readme-snippets');
  const files: { [path: string]: string } = {};
  for (const [i, { text }] of code.entries()) files[`${folder}/${i}.ts`] = `${text}\nexport {};\n`;
  files[`${folder}/tsconfig.json`] = JSON.stringify({
    extends: '../tsconfig.json',
    compilerOptions: {
      noUnusedLocals: false,
      lib: ['ES2023'],
      paths: {
        motenet: ['../targets/node/index.ts'],
        'motenet/node': ['../targets/node/sockets.ts'],
        'motenet/wireguard': ['../lib/wireguard/tunnel.ts'],
        'motenet/netstack': ['../lib/netstack/stack.ts'],
      },
    },
    include: ['*.ts'],
    exclude: [],
  });
  const names = Object.keys(files).map(path => posix.basename(path));
  const api = new API({
    cwd: ROOT,
    fs: {
      readFile: path => files[path],
      fileExists: path => (path in files ? true : undefined),
      directoryExists: path => (path === folder ? true : undefined),
      getAccessibleEntries: path => (path === folder ? { files: names, directories: [] } : undefined),
      realpath: path => (path === folder || path in files ? path : undefined),
    },
  });
  try {
    const snapshot = api.updateSnapshot({ openProjects: [`${folder}/tsconfig.json`] });
    const { program } = snapshot.getProjects()[0]!;
    return code.flatMap(({ path, line }, i) => {
      const file = `${folder}/${i}.ts`;
      const problems = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
      return problems.map(({ text, pos }) => {
        const before = files[file]!.slice(0, pos).split('\n').length - 1;
        return { path, line: line + before, text };
      });
    });
  } finally {
    api.close();
  }
}

/** Relative links to nowhere, `npm run` scripts that do not exist, and paths in backticks that are not there. */
export function referenceFindings(path: string, markdown: string): Finding[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    scripts: { [name: string]: string };
  };
  const findings: Finding[] = [];
  markdown.split('\n').forEach((line, index) => {
    const at = { path, line: index + 1 };
    for (const [, target] of line.matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g))
      if (!existsSync(join(ROOT, posix.dirname(path), target!))) findings.push({ ...at, text: `link to ${target}` });
    for (const [, name] of line.matchAll(/npm run (?:-s )?([a-z][a-z-]*)/g))
      if (scripts[name!] === undefined) findings.push({ ...at, text: `script ${name}` });
    for (const [, file] of line.matchAll(/`((?:lib|test|targets|bench|examples)\/[\w./-]+\.\w+)`/g))
      if (!existsSync(join(ROOT, file!))) findings.push({ ...at, text: `file ${file}` });
  });
  return findings;
}
