package kcl;

import java.nio.charset.StandardCharsets;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.kpl.ExtendedSequenceNumber;

/** Tells what it sees, takes {@code slowMillis} for each record, and checkpoints unless told never to but at the end of a shard. */
final class Processor implements ShardRecordProcessor {
    private final String stream;
    private final long slowMillis;
    private final boolean checkpoints;
    private String shard;

    /** {@code stream}: null in single-stream mode. */
    Processor(String stream, long slowMillis, boolean checkpoints) {
        this.stream = stream;
        this.slowMillis = slowMillis;
        this.checkpoints = checkpoints;
    }

    @Override
    public void initialize(InitializationInput input) {
        shard = input.shardId();
        ExtendedSequenceNumber at = input.extendedSequenceNumber();
        say("initialized", "checkpoint", at.sequenceNumber(), "subSequenceNumber", at.subSequenceNumber());
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
        for (KinesisClientRecord record : input.records()) {
            pause();
            say(
                    "record",
                    "sequenceNumber",
                    record.sequenceNumber(),
                    "subSequenceNumber",
                    record.subSequenceNumber(),
                    "partitionKey",
                    record.partitionKey(),
                    "data",
                    StandardCharsets.UTF_8.decode(record.data().duplicate()).toString());
        }
        if (checkpoints && !input.records().isEmpty()) {
            String last = input.records().get(input.records().size() - 1).sequenceNumber();
            checkpoint(input.checkpointer(), last);
        }
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
        say("leaseLost");
    }

    @Override
    public void shardEnded(ShardEndedInput input) {
        say("shardEnded");
        checkpoint(input.checkpointer(), "SHARD_END");
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
        say("shutdownRequested");
        if (checkpoints) {
            checkpoint(input.checkpointer(), null);
        }
    }

    /** {@code position} is what the line says; the checkpoint itself is the largest sequence number that was delivered. */
    private void checkpoint(RecordProcessorCheckpointer checkpointer, String position) {
        try {
            checkpointer.checkpoint();
            say("checkpointed", "checkpoint", position);
        } catch (InvalidStateException | ShutdownException error) {
            say("checkpointRefused", "checkpoint", position, "error", error.toString());
        }
    }

    private void pause() {
        try {
            Thread.sleep(slowMillis);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private void say(String event, Object... fields) {
        Object[] all = new Object[fields.length + 4];
        all[0] = "stream";
        all[1] = stream;
        all[2] = "shard";
        all[3] = shard;
        System.arraycopy(fields, 0, all, 4, fields.length);
        Lines.say(event, all);
    }
}
