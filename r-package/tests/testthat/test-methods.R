test_that("coef has one row per participant and the estimates", {
  wide <- coef(example_fit)
  long <- tidy(example_fit)
  expect_equal(nrow(wide), length(unique(long$level)))
  who <- long$level == "p02"
  expect_equal(unlist(wide[2, -1], use.names = FALSE), long$estimate[who])
  expect_equal(names(wide)[-1], paste(long$component, long$term, sep = ":")[who])
})

test_that("the diagonal of vcov is the squared standard error", {
  table <- tidy(example_fit)
  table <- table[table$level == "p01", ]
  known <- !is.na(table$std.error)
  expect_equal(unname(diag(vcov(example_fit, "p01")))[known], table$std.error[known]^2, tolerance = 1e-6)
  expect_error(vcov(example_fit), class = "spicestat_error_config")
  expect_error(vcov(example_fit, "nobody"), class = "spicestat_error_config")
})

test_that("a group model's vcov has the squared standard errors", {
  expect_equal(sqrt(unname(diag(vcov(example_group)))), tidy(example_group)$std.error, tolerance = 1e-6)
})

test_that("a joint model's vcov is complete, and that of separate models is not", {
  covariance <- vcov(example_group)
  expect_false(anyNA(covariance))
  expect_equal(covariance, t(covariance), tolerance = 1e-8)
  expect_true(any(covariance[1:3, 4:6] != 0))
  group <- example_group
  group$joint_covariance <- NULL
  expect_equal(vcov(group)[1:3, 1:3], covariance[1:3, 1:3], tolerance = 1e-8)
  expect_true(all(is.na(vcov(group)[1:3, 4:6])))
})

test_that("fixef, sigma, VarCorr and ranef agree with tidy", {
  expect_equal(fixef(example_group), coef(example_group))
  spread <- tidy(example_group, effects = "ran_pars")
  sds <- spread$estimate[startsWith(spread$term, "sd__")]
  expect_equal(unname(sigma(example_group)), sds)
  covariance <- VarCorr(example_group)
  expect_equal(unname(attr(covariance$participant, "stddev")), sds)
  expect_equal(covariance$participant[1, 2], prod(sds) * spread$estimate[!startsWith(spread$term, "sd__")])
  table <- as.data.frame(covariance)
  expect_equal(names(table), c("grp", "var1", "var2", "vcov", "sdcor"))
  expect_equal(table$vcov[1:2], sds^2)
  expect_output(print(covariance), "Corr")
  values <- tidy(example_group, effects = "ran_vals")
  wide <- ranef(example_group, condVar = TRUE)$participant
  expect_equal(c(as.matrix(wide)), values$estimate)
  expect_equal(c(as.matrix(attr(wide, "se"))), values$std.error)
  expect_equal(rownames(wide), unique(values$level))
})

test_that("AIC and BIC of a group model are those of glance", {
  expect_equal(AIC(example_group), glance(example_group)$AIC)
  expect_equal(BIC(example_group), glance(example_group)$BIC, tolerance = 1e-6)
  group <- example_group
  group$glance$log_lik <- NA_real_
  expect_error(logLik(group), "no likelihood", class = "spicestat_error_config")
})

test_that("formula, terms and model.frame give what the model was asked", {
  expect_equal(formula(example_group), ~ diagnosis + age, ignore_formula_env = TRUE)
  expect_equal(attr(terms(example_group), "term.labels"), c("diagnosis", "age"))
  frame <- model.frame(example_group)
  expect_equal(dim(frame), c(48L, 5L))
  expect_equal(levels(frame$diagnosis), c("control", "patient"))
})

test_that("augment has one row per participant and coefficient, with broom's names", {
  table <- augment(example_group)
  expect_equal(nrow(table), 48)
  expect_true(all(c(".fitted", ".se.fit", ".resid", ".std.resid", ".hat", ".cooksd") %in% names(table)))
  expect_equal(names(table)[1:5], c("participant", "diagnosis", "age", "component", "sparse.term"))
  expect_equal(table$.resid, table$.observed - table$.fitted)
  effects <- coef(example_group)[4:6]
  beta <- table[table$component == "beta", ]
  expect_equal(beta$.fitted, effects[[1]] + effects[[2]] * (beta$diagnosis == "patient") + effects[[3]] * beta$age)
  group <- example_group
  group$participants <- NULL
  expect_error(augment(group), class = "spicestat_error_config")
  group$design <- NULL
  expect_error(model.frame(group), "earlier version", class = "spicestat_error_config")
})

test_that("summary counts who has a term", {
  table <- summary(example_fit)
  long <- tidy(example_fit)
  expect_equal(sum(table$n.present), sum(long$present))
})

test_that("means of people's own estimates are called so, and weights of the population", {
  header <- function(fit) gsub("\\s+", " ", paste(format(fit), collapse = " "))
  fit <- example_fit
  fit$coefficients$pooled <- fit$coefficients$estimate
  expect_match(header(fit), "own estimates, which scatter more than they do; tidy() has pooled ones):", fixed = TRUE)
  fit$coefficients$shared[[1]] <- TRUE
  expect_match(header(fit), "pooled ones; with sd 0, the population's, which is everybody's):", fixed = TRUE)
  fit$coefficients[c("pooled", "shared")] <- NULL
  expect_match(header(fit), "over the participants that have them):", fixed = TRUE)
})

test_that("logLik knows its degrees of freedom", {
  row <- glance(example_fit)
  expect_equal(AIC(logLik(example_fit)), row$AIC)
  expect_equal(BIC(example_fit), row$BIC)
})

test_that("nobs, confint and tables agree with tidy", {
  expect_equal(nobs(example_fit), sum(tidy(example_fit)$n.trials[!duplicated(tidy(example_fit)$level)]))
  expect_equal(nobs(example_group), 24)
  expect_equal(unname(coef(example_group)), tidy(example_group)$estimate)
  expect_equal(unname(confint(example_group)[, 1]), tidy(example_group, conf.int = TRUE)$conf.low,
    tolerance = 1e-6
  )
  expect_equal(dim(confint(example_group, names(coef(example_group))[2])), c(1L, 2L))
  rows <- tidy(example_fit, conf.int = TRUE, conf.level = 0.9)
  rows <- rows[!is.na(rows$std.error), ]
  expect_equal(unname(confint(example_fit, level = 0.9)[, 2]), rows$conf.high)
  expect_equal(rownames(confint(example_fit))[1], paste0(rows$level[1], ":", rows$component[1], ":", rows$term[1]))
  expect_equal(as_tibble(example_fit), tidy(example_fit))
  expect_equal(class(as.data.frame(example_group)), "data.frame")
})

test_that("printing shows what was fitted, in lines that fit a terminal", {
  lines <- format(example_fit)
  expect_true(any(grepl("spice_report(fit", lines, fixed = TRUE)))
  expect_match(lines[1], "24 participants")
  expect_match(lines, "per choice", all = FALSE)
  expect_lte(max(nchar(c(lines, format(example_group)))), 100)
  expect_output(expect_identical(print(example_group), example_group), "diagnosis")
})

test_that("printing tells what did not go well", {
  group <- example_group
  group$glance$withheld <- TRUE
  group$glance$converged <- FALSE
  group$glance$contradictions <- paste(rep("no maxima", 20), collapse = " ")
  group$messages <- paste(rep("a long note", 20), collapse = " ")
  lines <- format(group)
  expect_match(lines, "withheld", all = FALSE)
  expect_match(lines, "Not converged", all = FALSE)
  expect_match(lines, "^Note: a long note", all = FALSE)
  expect_equal(sum(grepl("^no maxima no maxima", lines)), 1)
  expect_lte(max(nchar(lines)), 100)
})

test_that("a posterior is printed without p-values", {
  group <- example_group
  group$coefficients[c("p_value", "p_adjusted")] <- NA_real_
  expect_false(any(grepl("p.value|withheld", format(group))))
})

test_that("below the effects, printing tests terms for all coefficients together, where there are several", {
  group <- example_group
  lines <- format(group)
  start <- which(lines == "all coefficients, together:")
  shown <- utils::read.table(text = lines[start + 1:3], header = TRUE)
  tests <- anova(group, across = TRUE)
  expect_equal(shown$term, rownames(tests))
  expect_equal(as.numeric(unlist(shown[2:4])), unlist(tests[1:3]), tolerance = 5e-3, ignore_attr = TRUE)
  expect_equal(shown$p.value, p_text(tests[[4]]))
  # neither without the covariance of the coefficients, nor of one coefficient, nor without tests
  apart <- group
  apart$joint_covariance <- NULL
  one <- group
  one$coefficients <- one$coefficients[one$coefficients$module == "beta", ]
  group$glance$withheld <- TRUE
  group$coefficients$p_value <- NA_real_
  for (other in list(apart, one, group)) expect_false(any(grepl("together", format(other))))
})

test_that("a console of 80 columns shows the intervals of a group model", {
  local_width <- options(width = 80)
  on.exit(options(local_width))
  lines <- format(example_group)
  expect_lte(max(nchar(lines)), 80)
  expect_match(lines, "std.error +conf.low +conf.high +p.value +p.adjusted", all = FALSE)
  long <- example_group
  long$joint_covariance <- NULL
  long$coefficients$term <- sub("diagnosispatient", "diagnosisa rather long name", long$coefficients$term)
  expect_lte(max(nchar(format(long))), 80)
  expect_match(format(long), "estimate +conf.low +conf.high +(p.value +)?p.adjusted", all = FALSE)
  table <- summary(example_group)
  expect_setequal(names(table), names(tidy(example_group, conf.int = TRUE)))
  # the first line has the columns that fit, shortened if need be
  expect_match(utils::capture.output(print(table))[2], "estimate +conf.l.* +conf.h.* +p.adj")
})

test_that("what the equations lack by their structure is not called left out", {
  structural <- data.frame(reason = c("in no participant's equation", "fixed at 1 by the structure of the equation"))
  expect_null(skipped_line(structural))
  expect_equal(
    skipped_line(rbind(structural, data.frame(reason = "2 usable participants are too few for 3 coefficients"))),
    c("Not analysed: 1 coefficient (2 usable participants are too few for 3", "  coefficients); see $skipped")
  )
})

test_that("estimates that the choices do not identify leave the summary of all others, and print() explains them", {
  fit <- example_fit
  rows <- which(fit$coefficients$module == "beta")
  fit$coefficients[rows[1:2], c("estimate", "std_error")] <- NA_real_
  fit$coefficients$at_bound[rows[1:2]] <- TRUE
  table <- summary(fit)
  expect_equal(table$mean[table$component == "beta"], mean(example_fit$coefficients$estimate[rows[-(1:2)]]))
  expect_equal(table$n.present, summary(example_fit)$n.present)
  lines <- paste(format(fit), collapse = " ")
  expect_match(lines, "for 2 participants \\(p01, p02\\). +Other +values fit +their +choices +as well")
  expect_false(any(grepl("identified", format(example_fit))))
})

test_that("what kernels lack is explained", {
  table <- data.frame(quantity = c("total", "half_life"), estimate = c(1, NA))
  expect_match(kernel_notes(table)[1], "^NA: ")
  expect_null(kernel_notes(table[1, ]))
})
