skip_if_not_installed("emmeans")

test_that("marginal means of a group model are those of its effects", {
  means <- as.data.frame(emmeans::emmeans(example_group, ~ diagnosis | coefficient))
  expect_equal(nrow(means), 4)
  age <- mean(model_data(example_group)$age)
  effects <- coef(example_group)
  expect_equal(means$emmean[1], effects[[1]] + effects[[3]] * age)
  expect_equal(unique(means$df), 21)
  differences <- as.data.frame(
    emmeans::contrast(emmeans::emmeans(example_group, ~ diagnosis | coefficient), "pairwise")
  )
  table <- tidy(example_group)
  table <- table[table$term == "diagnosispatient", ]
  expect_equal(-differences$estimate, table$estimate)
  expect_equal(differences$SE, table$std.error)
  expect_equal(differences$p.value, table$p.value, tolerance = 1e-6)
})

test_that("slopes, transformed covariates and models in R work, too", {
  slopes <- as.data.frame(emmeans::emtrends(example_group, ~ 1 | coefficient, var = "age"))
  expect_equal(slopes$age.trend, unname(coef(example_group)[c(3, 6)]))
  skip_if_not_installed("metafor")
  scaled <- spice_group(example_fit, ~ diagnosis * scale(age), method = "metafor")
  plain <- spice_group(example_fit, ~ diagnosis * age, method = "metafor")
  at <- list(age = c(20, 40))
  means <- function(group) as.data.frame(emmeans::emmeans(group, ~ diagnosis + age | coefficient, at = at))$emmean
  expect_equal(means(scaled), means(plain), tolerance = 1e-6)
})

test_that("where inference is withheld there are means without standard errors", {
  group <- example_group
  group$glance$withheld <- TRUE
  means <- as.data.frame(emmeans::emmeans(group, ~ diagnosis | coefficient))
  expect_true(all(is.na(means$SE)))
  expect_false(anyNA(means$emmean))
})

test_that("means over different coefficients come with a warning that says what to write", {
  expect_warning(emmeans::emmeans(example_group, ~diagnosis),
    "~ diagnosis | coefficient", fixed = TRUE, class = "spicestat_warning_averaged"
  )
  expect_warning(emmeans::emmeans(example_group, "diagnosis"), class = "spicestat_warning_averaged")
  expect_warning(emmeans::emmeans(example_group, pairwise ~ diagnosis),
    "write ~ diagnosis |", fixed = TRUE, class = "spicestat_warning_averaged"
  )
  expect_warning(emmeans::emtrends(example_group, ~1, var = "age"), "~ 1 |",
    fixed = TRUE, class = "spicestat_warning_averaged"
  )
  expect_silent(emmeans::emmeans(example_group, ~ diagnosis | coefficient))
  expect_silent(emmeans::emmeans(example_group, ~ coefficient * diagnosis))
  expect_silent(emmeans::emmeans(example_group, "diagnosis", by = "coefficient"))
  expect_silent(emmeans::emmeans(example_group, list(~ diagnosis | coefficient, pairwise ~ diagnosis | coefficient)))
  expect_silent(emmeans::ref_grid(example_group))
  one <- example_group
  one$coefficients <- one$coefficients[one$coefficients$module == "beta", ]
  expect_silent(emmeans::emmeans(one, ~diagnosis))
})

awkward_people <- function() {
  people <- model_data(example_group)
  people$`Diag ICD` <- people$diagnosis
  people$`PHQ-9` <- people$age
  people$is.old <- people$age > 30
  people
}

test_that("names that need backticks mean the same with every method", {
  skip_if_no_engine()
  skip_if_not_installed("metafor")
  people <- awkward_people()
  formula <- ~ `Diag ICD` * scale(`PHQ-9`) + is.old
  groups <- lapply(c("meta", "metafor"), function(method) spice_group(example_fit, formula, people, method))
  means <- lapply(groups, function(group) as.data.frame(emmeans::emmeans(group, ~ `Diag ICD` | coefficient)))
  expect_equal(means[[1]], means[[2]], tolerance = 1e-4)
  expect_gt(abs(diff(means[[1]]$emmean[1:2])), 0.1)
  expect_equal(predict(groups[[1]], people[1:3, ]), predict(groups[[2]], people[1:3, ]), tolerance = 1e-4)
  expect_s3_class(ggplot2::ggplot_build(autoplot(groups[[1]], type = "covariate")), "ggplot_built")
})

test_that("means are turned back where all coefficients have one link, and otherwise a warning says so", {
  linked <- example_group
  linked$links <- list(beta = "log")
  expect_silent(means <- emmeans::emmeans(linked, ~ diagnosis | coefficient))
  expect_output(print(means), "Means of beta:x_value_reward are on the log scale")
  expect_warning(emmeans::emmeans(linked, ~ diagnosis | coefficient, type = "response"),
    "the coefficients differ in their links",
    class = "spicestat_warning_scales"
  )
  linked$coefficients <- linked$coefficients[linked$coefficients$module == "beta", ]
  means <- as.data.frame(emmeans::emmeans(linked, ~diagnosis, type = "response"))
  newdata <- data.frame(diagnosis = c("control", "patient"), age = mean(model_data(example_group)$age))
  expect_equal(means$response, predict(linked, newdata, type = "response")$.fitted)
})
