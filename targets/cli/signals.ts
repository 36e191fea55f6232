/** When a running command is to end: a first signal asks for an orderly end, a later one for an end at once. */
import { constants } from 'node:os';

/** Signals this close together are one: a terminal, npm and tsx each pass the same Ctrl-C on. */
export const SAME_SIGNAL_MS = 300;
/** SIGINT and SIGTERM as people and supervisors send them, SIGHUP when the terminal goes away. */
export const SIGNALS = /* @__PURE__ */ Object.freeze(['SIGINT', 'SIGTERM', 'SIGHUP'] as const);

/** The signal that asks a server with policy files to read them again, instead of ending it. */
export const RELOAD_SIGNAL = 'SIGHUP';

/** The part of `process` that this file needs. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  exit(code: number): unknown;
}

/** What {@link catchSignals} gives. */
export interface Stop {
  /** Resolves with the reason when the command is to end: the name of a signal, or what was given to `stop`. */
  readonly stopped: Promise<string>;
  /** Asks for an orderly end. */
  stop(reason: string): void;
  /** Leaves signals to the system again. */
  release(): void;
}

/** Catches `signals` of `source`; a second one ends the process with 128 and its number (130 for SIGINT). */
export function catchSignals(
  source: SignalSource,
  now: () => number,
  signals: readonly NodeJS.Signals[] = SIGNALS,
): Stop {
  let resolveStopped: (reason: string) => void = () => undefined;
  const stopped = new Promise<string>(resolve => {
    resolveStopped = resolve;
  });
  let firstMs: number | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    if (firstMs !== undefined && now() - firstMs >= SAME_SIGNAL_MS) source.exit(128 + constants.signals[signal]);
    firstMs ??= now();
    resolveStopped(signal);
  };
  for (const signal of signals) source.on(signal, onSignal);
  return {
    stopped,
    stop: resolveStopped,
    release: () => {
      for (const signal of signals) source.off(signal, onSignal);
    },
  };
}
