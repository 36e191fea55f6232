/**
 * Stands in for uvu in the mutants runner: the same way to write tests, but a run stops at the first test that fails
 * and says which one it was.
 */

type Handler = (context: { [name: string]: unknown }) => unknown;

/** A suite that was started by `run()`. */
interface Started {
  readonly name: string;
  readonly tests: readonly { readonly name: string; readonly handler: Handler }[];
  readonly hooks: { readonly [kind in HookKind]: readonly Handler[] };
  readonly context: { [name: string]: unknown };
}

type HookKind = 'before' | 'after' | 'beforeEach' | 'afterEach';

/** Where suites are queued until {@link runUntilFailure}. */
interface Globals {
  __suites?: Started[];
  /** The test that runs now. */
  __test?: string;
}

/** As `suite` of uvu. */
export function suite(name = '', context: { [name: string]: unknown } = {}) {
  const tests: { name: string; handler: Handler }[] = [];
  const hooks = {
    before: [] as Handler[],
    after: [] as Handler[],
    beforeEach: [] as Handler[],
    afterEach: [] as Handler[],
  };
  const test = (title: string, handler: Handler) => {
    tests.push({ name: title, handler });
  };
  const hook = (kind: HookKind) => (handler: Handler) => {
    hooks[kind].push(handler);
  };
  return Object.assign(test, {
    before: Object.assign(hook('before'), { each: hook('beforeEach') }),
    after: Object.assign(hook('after'), { each: hook('afterEach') }),
    only: test,
    skip: () => undefined,
    run: () => {
      (globalThis as Globals).__suites?.push({ name, tests: [...tests], hooks, context });
    },
  });
}

/** As `test` of uvu. */
export const test = /* @__PURE__ */ suite();

/**
 * Loads a file and runs its suites, or only the tests with the given names; returns the name of the first test that
 * failed, or undefined. The name of a test begins with that of its suite.
 */
export async function runUntilFailure(
  load: () => Promise<unknown>,
  only?: ReadonlySet<string>,
): Promise<string | undefined> {
  const globals = globalThis as Globals;
  const started: Started[] = [];
  globals.__suites = started;
  globals.__test = '(loading)';
  if (!(await succeeds(load))) return '(loading)';
  for (const suite of started) {
    const failed = await firstFailure(suite, only);
    if (failed !== undefined) return failed;
  }
  return undefined;
}

async function firstFailure(suite: Started, only: ReadonlySet<string> | undefined): Promise<string | undefined> {
  const { hooks, context } = suite;
  const named = suite.tests.map(({ name, handler }) => ({ name: `${suite.name}: ${name}`, handler }));
  const tests = named.filter(({ name }) => only === undefined || only.has(name) || only.has('(loading)'));
  if (tests.length === 0) return undefined;
  if (!(await callAll(hooks.before, context))) return `${suite.name}: (before)`;
  for (const { name, handler } of tests) {
    (globalThis as Globals).__test = name;
    const isFine = (await callAll(hooks.beforeEach, context)) && (await succeeds(() => handler(context)));
    const isClean = await callAll(hooks.afterEach, context);
    if (!isFine || !isClean) return name;
  }
  return (await callAll(hooks.after, context)) ? undefined : `${suite.name}: (after)`;
}

async function callAll(handlers: readonly Handler[], context: Started['context']): Promise<boolean> {
  for (const handler of handlers) if (!(await succeeds(() => handler(context)))) return false;
  return true;
}

async function succeeds(action: () => unknown): Promise<boolean> {
  try {
    await action();
    return true;
  } catch {
    return false;
  }
}
