/**
 * The peer program (see peer-program.ts) with the kernel's own sockets behind it: the far end of a tunnel, and in a
 * control run also the near end.
 */
import { kernelFace } from './kernel-face.ts';
import { runPeerProgram } from './peer-program.ts';

runPeerProgram(async () => ({ face: kernelFace, info: {} }));
