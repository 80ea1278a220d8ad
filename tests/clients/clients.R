# What packages that Debian 12 lacks make of group models; run by `make test-clients`. No Python is needed.
suppressPackageStartupMessages({
  library(spicestat)
  library(marginaleffects)
})
same <- function(x, y, tolerance = 1e-4) stopifnot(isTRUE(all.equal(as.numeric(x), as.numeric(y), tolerance = tolerance)))

group <- spice_group(example_fit, ~ diagnosis * age, method = "metafor")
new <- data.frame(diagnosis = c("control", "patient"), age = 40)
expected <- predict(group, new)

# predictions, with their standard errors, per coefficient
found <- as.data.frame(predictions(group, newdata = datagrid(model = group, diagnosis = c("control", "patient"), age = 40)))
found <- found[order(match(found$group, c("x_learning_rate_reward:1", "beta:x_value_reward")), found$diagnosis), ]
same(found$estimate, expected$.fitted)
same(found$std.error, expected$.se.fit)

# the slope of age within each diagnosis is emmeans'
slopes <- as.data.frame(avg_slopes(group, variables = "age", by = c("group", "diagnosis")))
trends <- as.data.frame(emmeans::emtrends(group, ~ diagnosis | coefficient, var = "age"))
key <- function(coefficient, diagnosis) paste(coefficient, diagnosis)
at <- match(key(trends$coefficient, trends$diagnosis), key(slopes$group, slopes$diagnosis))
same(slopes$estimate[at], trends$age.trend)
# marginaleffects differentiates numerically
same(slopes$std.error[at], trends$SE, tolerance = 1e-3)

# one effect alone is the effect
plain <- spice_group(example_fit, ~ diagnosis + age, method = "metafor")
difference <- as.data.frame(avg_comparisons(plain, variables = "diagnosis", by = "group"))
effect <- tidy(plain)[tidy(plain)$term == "diagnosispatient", ]
at <- match(paste(effect$component, effect$sparse.term, sep = ":"), difference$group)
same(difference$estimate[at], effect$estimate)
same(difference$std.error[at], effect$std.error)

# hypotheses about effects
double <- as.data.frame(hypotheses(plain, "`beta:x_value_reward:age` * 2 = 0"))
same(double$estimate, 2 * coef(plain)[["beta:x_value_reward:age"]])
same(double$std.error, 2 * sqrt(vcov(plain)["beta:x_value_reward:age", "beta:x_value_reward:age"]))

# tables: terms are unique on demand
table <- broom.helpers::tidy_with_broom_or_parameters(plain, term = "full")
stopifnot(anyDuplicated(table$term) == 0, nrow(table) == 6)
plus <- broom.helpers::tidy_plus_plus(
  spice_group(example_fit, ~ diagnosis + age, method = "metafor", modules = "beta")
)
stopifnot(identical(plus$variable, c("diagnosis", "diagnosis", "age")), all(plus$n_obs == c(12, 12, 24)))
cat("clients: all as it should be\n")
