package kcl;

import java.util.concurrent.atomic.AtomicReference;
import software.amazon.awssdk.services.cloudwatch.model.StandardUnit;
import software.amazon.kinesis.metrics.MetricsFactory;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.metrics.MetricsScope;
import software.amazon.kinesis.metrics.NullMetricsScope;

/** Metrics that go nowhere, but for one: that this worker became the leader, or is it no longer, shows nowhere else. */
final class LeaderWatch implements MetricsFactory {
    private static final String IS_LEADER = "LeaderDecider:IsLeader";
    private final AtomicReference<Boolean> last = new AtomicReference<>(false);

    @Override
    public MetricsScope createMetrics() {
        return new NullMetricsScope() {
            @Override
            public void addData(String name, double value, StandardUnit unit, MetricsLevel level) {
                boolean leader = value > 0;
                if (name.equals(IS_LEADER) && last.getAndSet(leader) != leader) {
                    Lines.say("leader", "leader", leader);
                }
            }
        };
    }
}
