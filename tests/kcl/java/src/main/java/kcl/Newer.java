package kcl;

import java.lang.reflect.Method;
import java.util.Arrays;

/** Settings that older versions of KCL lack, so that one program can be built with either. */
final class Newer {
    private Newer() {}

    /** Does nothing for a null value. Raises IllegalArgumentException if this KCL has no such setting, or the value is none of its own. */
    static void set(Object config, String name, Object value) {
        if (value == null) {
            return;
        }
        Method setter = Arrays.stream(config.getClass().getMethods())
                .filter(method -> method.getName().equals(name) && method.getParameterCount() == 1)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("this version of KCL has no setting " + name));
        try {
            setter.invoke(config, fitting(setter.getParameterTypes()[0], value));
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException(name + ": " + error, error);
        }
    }

    private static Object fitting(Class<?> type, Object value) {
        if (!type.isEnum()) {
            return value;
        }
        return Arrays.stream(type.getEnumConstants())
                .filter(constant -> constant.toString().equals(value))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "no such value: " + value + "; there are " + Arrays.toString(type.getEnumConstants())));
    }
}
