here <- rlang::current_env()

people <- data.frame(
  id = c("b", "a", "c", "d", "e", "f"), age = c(30, 20, 25, 41, 50, 28),
  sex = c("m", "f", "f", "m", "f", "m"), smokes = c(TRUE, FALSE, NA, TRUE, FALSE, FALSE)
)

test_that("labels are matched by what they say", {
  expect_equal(id_key(c(1, 2.5, 1e5)), c("1", "2.5", "100000"))
  expect_equal(id_key(factor(" s01 ")), "s01")
  aligned <- align_people(c("2", "1"), data.frame(participant = 1:2, age = c(20, 30)), "participant", here)
  expect_equal(aligned$people$age, c(30, 20))
})

test_that("participants without a row are left out with a warning, and nobody has two rows", {
  expect_warning(
    aligned <- align_people(c("a", "b", "x"), people, "id", here),
    "1 of 3 participants have no row.*'x'", class = "spicestat_warning_exclusion"
  )
  expect_equal(aligned$positions, 1:2)
  expect_equal(names(aligned$people), c("participant", "age", "sex", "smokes"))
  expect_error(align_people("x", people, "id", here), class = "spicestat_error_data")
  expect_error(
    align_people("a", rbind(people, people), "id", here), "6 participants have more than one row",
    class = "spicestat_error_covariate"
  )
})

with_names <- function() stats::setNames(people, c("participant", "age", "sex", "smokes"))

test_that("a name of two columns says neither", {
  skip_if_not_installed("metafor")
  data <- cohort(20)
  data$people <- cbind(data$people, age = rev(data$people$age))
  expect_error(
    group_cohort(data, ~ ill + age, method = "metafor"), "more than one column 'age'", class = "spicestat_error_column"
  )
  expect_s3_class(group_cohort(data, ~ill, method = "metafor"), "spice_group")
})

test_that("participants who lack a covariate are left out with a warning", {
  expect_warning(
    design <- group_design(~ age + smokes, with_names(), here), "1 of 6 participants lack 'smokes'.*'c'",
    class = "spicestat_warning_exclusion"
  )
  expect_equal(colnames(design$matrix), c("(Intercept)", "age", "smokesTRUE"))
  expect_equal(design$rows, c(1, 2, 4, 5, 6))
})

test_that("participants who lack a covariate on some occasions are counted once", {
  twice <- data.frame(
    participant = rep(c("a", "b", "c", "d", "e"), each = 2), mood = c(1, 2, NA, NA, 3, 5, NA, 4, 6, 2)
  )
  expect_warning(
    group_design(~mood, twice, here), "2 of 5 participants lack 'mood' on 3 occasions, which are left out: 'b', 'd'.",
    fixed = TRUE, class = "spicestat_warning_exclusion"
  )
})

test_that("contrasts are those of the session and of the factors", {
  old <- options(contrasts = c("contr.sum", "contr.poly"))
  on.exit(options(old))
  data <- with_names()
  data$grade <- factor(c("low", "mid", "high", "low", "mid", "high"), c("low", "mid", "high"), ordered = TRUE)
  design <- group_design(~ sex + grade, data, here)
  expect_equal(colnames(design$matrix), c("(Intercept)", "sex1", "grade.L", "grade.Q"))
  options(old)
  # as they were then
  expect_equal(matrix_for(design, data[1:2, ]), design$matrix[1:2, ], ignore_attr = TRUE)
})

test_that("scale() keeps its centre when the formula is used on other rows", {
  design <- group_design(~ scale(age), with_names(), here)
  expect_equal(colnames(design$matrix)[2], "scale(age)")
  again <- stats::model.matrix(design$formula, with_names()[1:2, ])
  expect_equal(unname(again[, 2]), unname(design$matrix[1:2, 2]))
})

test_that("formulas that cannot be used are refused with the engine's codes", {
  design <- function(formula, data = with_names()) group_design(formula, data, here)
  expect_error(design(~height), "unknown variable 'height'.*age, sex", class = "spicestat_error_formula")
  expect_error(design(age ~ sex), "left-hand side", class = "spicestat_error_formula")
  expect_error(design(~ offset(age)), "offset", class = "spicestat_error_formula")
  expect_error(design(~0), "no coefficients", class = "spicestat_error_formula")
  expect_error(design(~ no_such_function(age)), "cannot be evaluated", class = "spicestat_error_formula")
  expect_error(design(~ age + I(2 * age)), "linearly dependent: I\\(2 \\* age\\)", class = "spicestat_error_formula")
  expect_error(design(~ poly(age, 3) * sex), class = "spicestat_error")
  expect_error(design(~sex, transform(with_names(), sex = "m")), "single level", class = "spicestat_error_covariate")
  expect_error(
    design(~age, transform(with_names(), age = age / 0)), "is infinite for participants",
    class = "spicestat_error_covariate"
  )
  expect_error(
    design(~ log(age - 20), with_names()), "missing or infinite for participants 'a'",
    class = "spicestat_error_covariate"
  )
  expect_error(
    design(~age, transform(with_names(), age = as.Date("2020-01-01") + age)), "unusable type.*as.numeric\\(age\\)",
    class = "spicestat_error_covariate"
  )
  listed <- with_names()
  listed$age <- as.list(listed$age)
  expect_error(design(~age, listed), "Got: list.*one value for each", class = "spicestat_error_covariate")
  expect_error(design(~age, transform(with_names(), age = NA_real_)), class = "spicestat_error_data")
  expect_error(design(~ age * sex, with_names()[1:4, ]), "too few", class = "spicestat_error_data")
})
