/**
 * Names of the tailnet in the shape of ECMA-419's DNS resolver (clause 15). It asks nobody: a member knows the names of
 * the members it may reach. Names of the outside do not resolve here; give those to a resolver over UDP of the host.
 */
import type { TunnelMote } from './tunnel.ts';

/** What `resolve` takes. */
export interface TunnelResolution {
  readonly host: string;
  readonly onResolved?: (this: TunnelResolver, host: string, address: string) => void;
  readonly onError?: (this: TunnelResolver, host: string) => void;
}

/** An instance. */
export interface TunnelResolver {
  /** Answers by one of the callbacks, a moment later. Throws Error without a host, a callback, or after `close`. */
  resolve(options: TunnelResolution): void;
  /** What was asked is not answered any more. */
  close(): void;
}

/** The class; its options (`servers`, `socket`) are those of a resolver over UDP, and not needed here. */
export type TunnelResolverClass = new (options?: object) => TunnelResolver;

/** The class Resolver of a mote. */
export function createResolverClass(mote: TunnelMote): TunnelResolverClass {
  return class Resolver implements TunnelResolver {
    #isClosed = false;

    resolve(options: TunnelResolution): void {
      const { host, onResolved, onError } = options;
      if (this.#isClosed) throw new Error('closed');
      if (!host || (onResolved === undefined && onError === undefined))
        throw new Error('invalid: expected a host and a callback');
      const name = String(host);
      void Promise.resolve().then(() => {
        if (this.#isClosed) return;
        const address = addressOf(mote, name);
        if (address === undefined) onError?.call(this, name);
        else onResolved?.call(this, name, address);
      });
    }

    close(): void {
      this.#isClosed = true;
    }
  };
}

function addressOf(mote: TunnelMote, name: string): string | undefined {
  try {
    return mote.lookUp(name);
  } catch {
    return undefined;
  }
}
