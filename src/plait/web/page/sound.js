// Recording: from the microphone to a WAV file.

import {stamped} from "./make.js";

const HEADER = 44; // bytes

export async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({audio: true});
  let context;
  const stop = () => {
    stream.getTracks().forEach((track) => track.stop());
    context?.close();
  };
  const parts = [];
  try {
    context = new AudioContext();
    await context.audioWorklet.addModule("/page/recorder.js");
    const node = new AudioWorkletNode(context, "recorder", {numberOfOutputs: 0});
    node.port.onmessage = (event) => parts.push(event.data);
    context.createMediaStreamSource(stream).connect(node);
  } catch (error) {
    stop();
    throw error;
  }
  // What was recorded so far.
  const file = () =>
    new File([toWav(parts, context.sampleRate)], stamped("recording", "wav"), {type: "audio/wav"});
  return {file, stop};
}

// Float samples in parts -> 16-bit PCM WAV, one channel.
export function toWav(parts, rate) {
  const samples = parts.flatMap((part) => [...part]);
  const view = new DataView(new ArrayBuffer(HEADER + 2 * samples.length));
  const text = (at, letters) =>
    [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, HEADER - 8 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, at) => {
    const cut = Math.max(-1, Math.min(1, sample));
    view.setInt16(HEADER + 2 * at, Math.round(cut * 32767), true);
  });
  return view.buffer;
}
