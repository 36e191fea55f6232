/**
 * The parts of a device that a small build may leave out: what is not passed is not in the bundle.
 * {@link allParts} is the only place that names them; a microcontroller's entry simply does not import this file.
 */
import { REASSEMBLY_LIMITS_LARGE, REASSEMBLY_LIMITS_SMALL, Reassembly } from '../netstack/reassembly.ts';
import type { StackOptions } from '../netstack/stack.ts';
import { createSack } from '../netstack/tcp-sack.ts';
import type { DeviceParts } from './device.ts';
import { Tailnet } from './tailnet.ts';

/** Everything: reassembly, selective acknowledgments with the loss recovery that needs them, membership in a tailnet. */
export const ALL_PARTS: DeviceParts = /* @__PURE__ */ Object.freeze({
  createReassembly: (preset): NonNullable<StackOptions['reassembly']> =>
    new Reassembly(preset === 'small' ? REASSEMBLY_LIMITS_SMALL : REASSEMBLY_LIMITS_LARGE),
  createSack,
  createTailnet: (options, owner) => new Tailnet(options, owner),
} satisfies DeviceParts);
