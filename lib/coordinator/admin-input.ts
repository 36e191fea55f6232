/**
 * What administrators may write: commands come out of JSON, so every field may be anything. A check returns what is
 * wrong, as a sentence for the administrator, or nothing.
 */
import type { AdminErrorCode, AdminOutcome } from './commands.ts';
import { isLabel } from './names.ts';
import type { TestsFailed } from './policy-guard.ts';

/** 365 days: an auth key lives no longer. */
export const MAX_KEY_LIFE_MS = 365 * 24 * 3_600_000;
/** 1 hour: an auth key for which nobody has said anything. */
export const DEFAULT_KEY_LIFE_MS = 3_600_000;
const MAX_DURATION_MS = 100 * MAX_KEY_LIFE_MS;
const MAX_TEXT_UNITS = 256;
const TAGGED_LOGIN = 'tagged-devices';

/** A refusal; `details`: more of the same, one line each. */
export function refusal(code: AdminErrorCode, message: string, details?: readonly string[]): AdminOutcome {
  return { isOk: false, code, message, ...(details !== undefined && { details }) };
}

/** The refusal of what would make access tests fail. */
export function refusalOfTests({ lines }: TestsFailed): AdminOutcome {
  const more = lines.length === 1 ? '' : ` (and ${lines.length - 1} more)`;
  return refusal('tests-failed', `access tests would fail: ${lines[0]}${more}`, lines);
}

/** Whether every field is of the type that the check says, or absent. */
export function problemWith(
  command: object,
  checks: Readonly<Record<string, (value: unknown) => string | undefined>>,
): string | undefined {
  for (const name of Object.keys(checks)) {
    const value = Object.hasOwn(command, name) ? (command as Record<string, unknown>)[name] : undefined;
    const problem = value === undefined ? undefined : checks[name]!(value);
    if (problem !== undefined) return `"${name}" expected ${problem}`;
  }
  return undefined;
}

/** True or false. */
export function expectBoolean(value: unknown): string | undefined {
  return typeof value === 'boolean' ? undefined : 'true or false';
}

/** A duration in ms, 0 included. */
export function expectDuration(value: unknown): string | undefined {
  const isDuration = Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= MAX_DURATION_MS;
  return isDuration ? undefined : 'a number of milliseconds, at most 100 years';
}

/** Life of an auth key. */
export function expectKeyLife(value: unknown): string | undefined {
  const isLife = Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= MAX_KEY_LIFE_MS;
  return isLife ? undefined : 'a number of milliseconds, at most 365 days';
}

/** A line of text. */
export function expectText(value: unknown): string | undefined {
  const isText =
    typeof value === 'string' && value.length <= MAX_TEXT_UNITS && !/[\u0000-\u001f\u007f-\u009f]/.test(value);
  return isText ? undefined : `one line of text, at most ${MAX_TEXT_UNITS} characters`;
}

/** A text of any kind, to look something up by. */
export function expectReference(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= MAX_TEXT_UNITS ? undefined : 'a text';
}

/** Name of a tailnet or a device. */
export function expectLabel(value: unknown): string | undefined {
  return typeof value === 'string' && isLabel(value) ? undefined : 'lower-case letters, digits and hyphens, at most 63';
}

/** Login name of a user. */
export function expectLogin(value: unknown): string | undefined {
  const isLogin =
    typeof value === 'string' && /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,126}$/.test(value) && value !== TAGGED_LOGIN;
  return isLogin ? undefined : 'letters, digits and . _ @ + - (ann@example.com), at most 127';
}

/** A text, which may have many lines. */
export function expectFile(value: unknown): string | undefined {
  return typeof value === 'string' ? undefined : 'a text';
}

/** A whole number from 0 to `most`. */
export function expectNumber(most: number): (value: unknown) => string | undefined {
  return value => {
    const isNumber = Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
    return isNumber ? undefined : `a whole number from 0 to ${most}`;
  };
}

/** Routes of a device. */
export function expectRoutes(most: number): (value: unknown) => string | undefined {
  return value => {
    const isList = Array.isArray(value) && value.length <= most && value.every(text => typeof text === 'string');
    return isList ? undefined : `at most ${most} prefixes like 192.0.2.0/24`;
  };
}

/** Tags of an auth key or a device. */
export function expectTags(most: number): (value: unknown) => string | undefined {
  return value => {
    const isTag = (tag: unknown) => typeof tag === 'string' && /^tag:[a-z][a-z0-9-]{0,62}$/.test(tag);
    const isList = Array.isArray(value) && value.length <= most && value.every(isTag);
    return isList && new Set(value).size === value.length ? undefined : `at most ${most} different tags like tag:web`;
  };
}
