// Runs where sound is made: hands on what the microphone gives, one channel.

class Recorder extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels[0].slice());
    return true;
  }
}
registerProcessor("recorder", Recorder);
