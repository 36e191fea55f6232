/**
 * The marks `// CHECK: kebab-name` in lib: each names the condition of a security check, so that the mutants runner can
 * switch it off (the condition becomes `false`) and see whether a test notices.
 *
 * A mark stands at the end of the line on which an `if` has its condition, or on which the one statement under it ends.
 */
import { SyntaxKind } from 'typescript/unstable/ast';
import { isIfStatement } from 'typescript/unstable/ast/is';
import { type Finding, lineOf, type Source, walk } from '../checks/source.ts';

/** A security check. */
export interface CheckMark {
  readonly name: string;
  readonly path: string;
  readonly line: number;
  /** Offsets of the condition in the file's text. */
  readonly start: number;
  readonly end: number;
  /** Text of the condition. */
  readonly condition: string;
}

/** All marks that can be used, and a finding for each that cannot. */
export function findMarks(sources: readonly Source[]): { marks: CheckMark[]; findings: Finding[] } {
  const marks: CheckMark[] = [];
  const findings: Finding[] = [];
  for (const source of sources) {
    const conditions = conditionsOf(source);
    source.text.split('\n').forEach((line, index) => {
      const name = /\/\/ CHECK:(.*)$/.exec(line)?.[1]?.trim();
      if (name === undefined) return;
      const at = { path: source.path, line: index + 1 };
      const other = marks.find(mark => mark.name === name);
      const condition = conditions.findLast(({ lastLines }) => lastLines.includes(at.line));
      if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) findings.push({ ...at, text: `"${name}" is not in kebab-case` });
      else if (other !== undefined) findings.push({ ...at, text: `${name} is taken by ${other.path}:${other.line}` });
      else if (condition === undefined) findings.push({ ...at, text: `${name} does not stand behind an if` });
      else marks.push({ name, ...at, ...condition.range });
    });
  }
  return { marks, findings };
}

interface Condition {
  /** Where a mark for it may stand. */
  readonly lastLines: readonly number[];
  readonly range: { start: number; end: number; condition: string };
}

/** The conditions of a file in the order of their start. */
function conditionsOf(source: Source): Condition[] {
  const found: Condition[] = [];
  walk(source.tree, node => {
    if (!isIfStatement(node)) return;
    const start = node.expression.getStart(source.tree);
    const end = node.expression.end;
    const lastLines = [lineOf(source, end)];
    if (node.thenStatement.kind !== SyntaxKind.Block) lastLines.push(lineOf(source, node.thenStatement.end));
    found.push({ lastLines, range: { start, end, condition: source.text.slice(start, end) } });
  });
  return found;
}
