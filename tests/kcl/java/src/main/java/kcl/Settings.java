package kcl;

import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;

/** The environment variables that begin with KCL_ (README.md lists them). A name that nobody reads is an error: it is misspelt. */
final class Settings {
    private final Map<String, String> environment;
    private final Set<String> read = new TreeSet<>();

    Settings(Map<String, String> environment) {
        this.environment = environment;
    }

    String required(String name) {
        String value = text(name, null);
        if (value == null) {
            throw new IllegalArgumentException(name + " is not set");
        }
        return value;
    }

    String text(String name, String otherwise) {
        read.add(name);
        String value = environment.get(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    /** Null unless set: KCL's own default then stays. */
    Long number(String name) {
        String value = text(name, null);
        try {
            return value == null ? null : Long.valueOf(value);
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException(name + " is no whole number: " + value);
        }
    }

    /** {@code on} or {@code off}; null unless set. */
    Boolean flag(String name) {
        String value = text(name, null);
        if (value != null && !List.of("on", "off").contains(value)) {
            throw new IllegalArgumentException(name + " is neither on nor off: " + value);
        }
        return value == null ? null : value.equals("on");
    }

    /** TRIM_HORIZON, LATEST, or milliseconds since 1970 for AT_TIMESTAMP. */
    InitialPositionInStreamExtended position(String name) {
        String value = text(name, "TRIM_HORIZON");
        if (value.chars().allMatch(Character::isDigit)) {
            return InitialPositionInStreamExtended.newInitialPositionAtTimestamp(new Date(Long.parseLong(value)));
        }
        return InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.valueOf(value));
    }

    void refuseUnknown() {
        Set<String> unknown = new TreeSet<>(environment.keySet());
        unknown.removeIf(name -> !name.startsWith("KCL_") || read.contains(name));
        if (!unknown.isEmpty()) {
            throw new IllegalArgumentException("no such setting: " + unknown + "; there are " + read);
        }
    }
}
