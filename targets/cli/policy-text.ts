/** Words that the commands about policies share: places in a file, counts, lists. */
import type { Problem } from '../../lib/policy/problem.ts';
import { plainText } from './table.ts';

/** Names that a list has at most. */
const MAX_NAMES = 8;

/** `policy.hujson:12:5: message (hint)`, as compilers write it. */
export function problemLine(file: string, { line, column, message, hint }: Problem): string {
  return plainText(`${file}:${line}:${column}: ${message}${hint === undefined ? '' : ` (${hint})`}`);
}

/** `1 device`, `2 devices`. */
export function countText(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** `1 line`, `all 2 lines`: everything that there is. */
export function allText(count: number, what: string): string {
  return `${count === 1 ? '' : 'all '}${countText(count, what)}`;
}

/** `a, b, c`, and how many more. */
export function listText(names: readonly string[]): string {
  const shown = names.slice(0, MAX_NAMES).join(', ');
  return plainText(names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown);
}
