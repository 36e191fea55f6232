/** The commands about policies, as entries of the table of administration commands. */
import { textOf } from './admin-flags.ts';
import type { AdminEntry } from './admin-task.ts';

/** `motenet policy NAME`. */
export const POLICY_ENTRIES: Readonly<Record<string, AdminEntry>> = /* @__PURE__ */ Object.freeze({
  check: {
    summary:
      'Reads a policy and runs its access tests, without a coordinator. FILE may be -. Exit code 3 when no test ran.',
    takes: ['FILE'],
    flags: {
      devices: {
        type: 'string',
        value: 'LIST',
        help: 'Judges on these, a file of `motenet devices list --json`; else on devices made up for the tests.',
      },
    },
    isLocal: true,
    task: ([path], values) => ({ type: 'policy-check', path: path!, devices: textOf(values, 'devices') }),
  },
} satisfies Record<string, AdminEntry>);
