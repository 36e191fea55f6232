/**
 * What is wrong with a policy file, and where: line and column from 1, a sentence, and where there is one a hint about
 * what to write instead. A list of problems has an end, so that a hostile file cannot make an endless one.
 */

/** Most problems that are collected before reading stops. */
export const MAX_PROBLEMS = 100;
/** Most candidates that are compared to find a name that was meant. */
const MAX_CANDIDATES = 1000;

/** A place in a policy file. */
export interface Place {
  /** From 1; 0: nowhere in the file. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

/** One thing that is wrong, or worth knowing. */
export interface Problem extends Place {
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}

/** Thrown inside the reader when nothing more can be said; never leaves lib/policy. */
export class PolicyStop extends Error {}

/** `12:5: message (hint)`. */
export function formatProblem(problem: Problem): string {
  const { line, column, message, hint } = problem;
  return `${line}:${column}: ${message}${hint === undefined ? '' : ` (${hint})`}`;
}

/** Offsets of a text as lines and columns. */
export class LineIndex {
  readonly #starts: number[] = [0];

  /** Lines end with `\n`; a `\r` before it counts as the last column. */
  constructor(text: string) {
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#starts.push(at + 1);
  }

  /** The place of an offset of 0 to the text's length. */
  placeOf(offset: number): Place {
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: offset - this.#starts[low]! + 1 };
  }
}

/** Problems as they are found. */
export class ProblemList {
  readonly problems: Problem[] = [];

  /** Adds one; after {@link MAX_PROBLEMS} it throws {@link PolicyStop}. */
  add(place: Place, message: string, hint?: string): void {
    const { line, column } = place;
    this.problems.push(hint === undefined ? { line, column, message } : { line, column, message, hint });
    if (this.problems.length >= MAX_PROBLEMS) throw new PolicyStop('too many problems');
  }
}

/** A text of the file for a message: quoted, at most 60 characters, control characters as `?`. */
export function quote(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return `"${short.replace(/[\u0000-\u001f\u007f]/g, '?')}"`;
}

/** `did you mean "x"?` for the candidate within two edits of a name, or undefined. */
export function meant(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let least = 3;
  let count = 0;
  if (name.length > 100) return undefined;
  for (const candidate of candidates) {
    if (++count > MAX_CANDIDATES) break;
    if (Math.abs(candidate.length - name.length) >= least) continue;
    const distance = edits(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best === undefined ? undefined : `did you mean ${quote(best)}?`;
}

/** Levenshtein distance of two texts of at most about 100 characters. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(same, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
