/**
 * What an administrator may ask about a tailnet's policy, and what comes back: plain data, like the other commands
 * (`commands.ts`).
 */
import type { AccessDiff } from '../policy/access-diff.ts';

/** A command about the policy of a tailnet. */
export type PolicyCommand =
  | { readonly type: 'policy-get'; readonly tailnet: string }
  /** Refused with `invalid` where the file is wrong, and with `tests-failed` where its tests fail. */
  | {
      readonly type: 'policy-set';
      readonly tailnet: string;
      /** HuJSON. */
      readonly text: string;
      /** The version that was read before; where another one is in place by now: `conflict`. Absent: whatever is there. */
      readonly version?: number;
      /** Says what would happen, and does nothing. */
      readonly isDryRun?: boolean;
    }
  /** Whether `source` may reach `port` of `destination`, each the id, the name or an address of a device, or any address. */
  | {
      readonly type: 'policy-explain';
      readonly tailnet: string;
      readonly source: string;
      readonly destination: string;
      /** Of no matter for a protocol without ports. */
      readonly port: number;
      /** IANA number; absent: TCP. */
      readonly protocol?: number;
    };

/** Why the policy of a tailnet needs somebody. */
export interface PolicyAlarm {
  /** When it was raised, ms since 1970. */
  readonly sinceMs: number;
  /** One line. */
  readonly message: string;
  /** The lines of tests that fail, or of the file that are wrong. */
  readonly failing: readonly string[];
}

/** The policy of a tailnet. */
export interface PolicyView {
  readonly tailnet: string;
  /** 0: nobody has set one. */
  readonly version: number;
  /** The newest that was accepted, as it came; empty for version 0. */
  readonly text: string;
  readonly setMs: number;
  readonly setBy: string;
  /** `good`: the newest is broken, and the last one whose tests passed is in force. `deny-all`: that is broken as well. */
  readonly inForce: 'current' | 'good' | 'allow-all' | 'deny-all';
  readonly alarm?: PolicyAlarm;
  /** What is in the file and not evaluated. */
  readonly notes: readonly string[];
}

/** What access tests said. */
export interface TestsView {
  readonly passed: number;
  readonly failed: number;
  /** Those that failed, one line each. */
  readonly lines: readonly string[];
}

/** What setting a policy has done, or would do. */
export interface PolicyChangeView {
  /** The version that is in place now; of a dry run, the one that it would become. */
  readonly version: number;
  readonly isDryRun: boolean;
  /** Whether anything is to be done: false for the text that is in force already. */
  readonly isChanged: boolean;
  readonly tests: TestsView;
  /** Devices are named by their names. */
  readonly diff: AccessDiff;
  readonly notes: readonly string[];
}

/** Whether one may reach the other. */
export interface ExplainView {
  /** Whether every pair of addresses may. */
  readonly isAllowed: boolean;
  /** One line. */
  readonly reason: string;
  /** The rule of the first pair that may. */
  readonly rule?: { readonly name: string; readonly line: number };
  readonly pairs: readonly {
    readonly source: string;
    readonly destination: string;
    readonly isAllowed: boolean;
    /** `acls[3] in line 12`. */
    readonly rule?: string;
  }[];
}

/** What each of these commands answers with. */
export interface PolicyResults {
  'policy-get': PolicyView;
  'policy-set': PolicyChangeView;
  'policy-explain': ExplainView;
}
