/**
 * Rules of form: every file and every export is described, files and functions stay short, no default exports, no
 * files that only re-export.
 */
import { type Node, SyntaxKind } from 'typescript/unstable/ast';
import { type Finding, findingAt, lineOf, type Source, walk } from './source.ts';

/** Hard limits in lines. The aims are 350 and 50. */
export const MAX_FILE_LINES = 500;
export const MAX_FUNCTION_LINES = 80;
export const MAX_LINE_COLUMNS = 120;

/** Files whose first token is not a doc comment. */
export function fileCommentFindings(sources: readonly Source[]): Finding[] {
  const bare = sources.filter(source => !/^(#!.*\n)?\/\*\*/.test(source.text));
  return bare.map(({ path }) => ({ path, line: 1, text: 'the file does not open with a doc comment' }));
}

/**
 * Exported declarations without a doc comment. Constants that follow each other without a blank line share the comment
 * of the first.
 */
export function exportCommentFindings(sources: readonly Source[]): Finding[] {
  const findings: Finding[] = [];
  for (const source of sources) {
    let isDescribed = false;
    let previous: Node | undefined;
    for (const statement of source.tree.statements) {
      const before = source.text.slice(statement.pos, statement.getStart(source.tree));
      const needed = statement.pos === 0 ? 2 : 1; // the first comment of a file is the file's
      const isGroup = previous?.kind === SyntaxKind.VariableStatement && previous.kind === statement.kind;
      if (!isGroup || before.trim() !== '' || /\n\s*\n/.test(before))
        isDescribed = before.split('/**').length > needed && /\*\/\s*$/.test(before);
      previous = statement;
      if (!isDescribed && hasModifier(statement, SyntaxKind.ExportKeyword))
        findings.push(findingAt(source, statement, `export ${nameOf(statement)} has no doc comment`));
    }
  }
  return findings;
}

function hasModifier(node: Node, kind: SyntaxKind): boolean {
  const { modifiers } = node as { modifiers?: readonly Node[] };
  return modifiers?.some(modifier => modifier.kind === kind) ?? false;
}

function nameOf(statement: Node): string {
  const named = statement as {
    name?: { text?: string };
    declarationList?: { declarations: { name: { text?: string } }[] };
  };
  return named.name?.text ?? named.declarationList?.declarations[0]?.name.text ?? 'here';
}

/** Files and functions that are too long. A function that is mostly one `switch` may be longer. */
export function lengthFindings(sources: readonly Source[]): Finding[] {
  const findings: Finding[] = [];
  for (const source of sources) {
    const lines = source.text.split('\n').length - 1;
    if (lines > MAX_FILE_LINES) findings.push({ path: source.path, line: 1, text: `${lines} lines in a file` });
    walk(source.tree, node => {
      const { body } = node as { body?: Node };
      if (body === undefined || body.kind !== SyntaxKind.Block) return;
      const length = linesOf(source, node);
      const dispatch = (body as unknown as { statements: readonly Node[] }).statements.find(isSwitch);
      if (length > MAX_FUNCTION_LINES && (dispatch === undefined || linesOf(source, dispatch) < length * 0.7))
        findings.push(findingAt(source, node, `${length} lines in ${nameOf(node)}`));
    });
  }
  return findings;
}

function isSwitch(node: Node): boolean {
  return node.kind === SyntaxKind.SwitchStatement;
}

function linesOf(source: Source, node: Node): number {
  return lineOf(source, node.end) - lineOf(source, node.getStart(source.tree)) + 1;
}

/** Default exports, and files outside the entries that do nothing but export what others wrote. */
export function exportFormFindings(sources: readonly Source[]): Finding[] {
  const findings: Finding[] = [];
  for (const source of sources) {
    const { statements } = source.tree;
    const isEntry = /^(lib\/index|targets\/[a-z]+\/index|targets\/node\/sockets)\.ts$/.test(source.path);
    const isBarrel = statements.length > 0 && statements.every(({ kind }) => kind === SyntaxKind.ExportDeclaration);
    if (isBarrel && !isEntry) findings.push({ path: source.path, line: 1, text: 'a file that only re-exports' });
    for (const statement of statements) {
      if (statement.kind === SyntaxKind.ExportAssignment || hasModifier(statement, SyntaxKind.DefaultKeyword))
        findings.push(findingAt(source, statement, 'default export'));
    }
  }
  return findings;
}
